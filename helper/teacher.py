"""The frozen teacher: found, checked, loaded, and made as cheap as it can be."""
from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dataset
from models import any_model, imagenet_dict
from models.cpu_kernels import accelerate, fused
from models.folding import folded
from models.fusing import cudnn_fuses, fused_for_cuda

from . import checkpoint
from .device import HALF, autocast
from .errors import UserError, in_short, near
from .known_teachers import TORCHVISION
from .recipe import less_than
from .stored_runs import StoredRun

# Images per call of a teacher of which logits alone are read, ahead of the steps. 1024 saturate a GPU, more
# would only take more memory; one batch saturates a CPU, and larger ones leave its cache.
IMAGES_AHEAD = {"cpu": 0, "cuda": 1024}


@dataclass
class TeacherFile:
    """A teacher's checkpoint: path, architecture, weights and their digest, and how it was trained as far as the file
    or the args.json beside it states."""

    path: Path
    arch: str
    weights: dict[str, Tensor]
    trained: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, str] = ("--path_t", "--model_t")  # what the user calls path and arch
    classes: tuple[str, ...] = ()  # their names, where the file has them
    changes: str = ""  # what was taken off or converted; printed when the network is built

    def less_than(self, full: dict[str, Any]) -> list[str]:
        """'--epochs 3', ... for what is known to be less than ``full``."""
        return less_than(self.trained, full)

    @cached_property
    def sha256(self) -> str:
        return checkpoint.digest(self.weights)


def read_teacher(path: str, arch: str | None = None, flags: tuple[str, str] = ("--path_t", "--model_t")) -> TeacherFile:
    """Read a checkpoint: this project's, RepDistiller's, or any whose weights :func:`.checkpoint.weights_of` finds.
    ``flags`` is what the user calls ``path`` and ``arch``.

    The architecture is ``arch`` if given, else what the file stores, else the network that its own name or its
    folder's name mentions first: resnet8_last.pth, cifar100_resnet20.pth; resnet110_vanilla, wrn_40_2_vanilla, and
    S=resnet8_T=resnet110_..., MIX-KD's folder of a student.
    """
    if path.startswith(TORCHVISION):
        return from_torchvision(path, arch, flags)
    file = Path(path)
    try:
        state: Any = checkpoint.load(file)
        weights, changes = checkpoint.weights_of(state, file)
    except UserError as error:
        raise UserError(f"{flags[0]} {error}") from None
    stored = state.get("arch") if isinstance(state.get("arch"), str) else None
    folder = file.resolve().parent.name
    arch = arch or stored or network_named(file.name) or network_named(folder)
    if arch is None:
        guess = re.split(r"[^A-Za-z0-9]", folder)[0]
        raise UserError(f"{flags[0]} {path}: neither the file nor its name or its folder's name states the "
                        f"architecture, {folder!r}{near(guess, any_model)}; name it with {flags[1]}")
    if arch not in any_model:
        raise UserError(f"{flags[0]} {path}: its architecture is {arch!r}, which is unknown here"
                        f"{near(arch, any_model)}; name it with {flags[1]}")
    names = state.get("classes")
    classes = tuple(map(str, names)) if isinstance(names, list) else ()
    return TeacherFile(file, arch, weights, _trained(state, file), flags, classes, changes)


def from_torchvision(path: str, given: str | None, flags: tuple[str, str]) -> TeacherFile:
    """``torchvision:resnet34``, or ``torchvision:resnet50:IMAGENET1K_V2``: ImageNet weights by torchvision's weights
    API, from its cache or downloaded into it and checked by the digest in their name. V1 where no version is given.

    Raises UserError: a network or version that torchvision has no weights of here, no network connection.
    """
    from torchvision import models
    arch, _, version = path.removeprefix(TORCHVISION).partition(":")
    if arch not in imagenet_dict or arch not in models.list_models():
        known = [name for name in imagenet_dict if name in models.list_models()]
        raise UserError(f"{flags[0]} {path}: torchvision has weights for {', '.join(known)}")
    if given not in (None, arch):
        raise UserError(f"{flags[1]} {given}: {flags[0]} {path} is a {arch}; leave {flags[1]} out")
    versions = models.get_model_weights(arch).__members__
    if (version := version or "IMAGENET1K_V1") not in versions:
        raise UserError(f"{flags[0]} {path}: {arch} has the weights {', '.join(versions)}")
    try:
        weights = versions[version].get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # no connection, a full disk, a damaged file in the cache
        why = f"{type(error).__name__}: {in_short(error)}"
        raise UserError(f"{flags[0]} {path}: could not be loaded ({why}); download {versions[version].url} elsewhere "
                        f"and give the file with {flags[1]} {arch}") from None
    return TeacherFile(Path(path), arch, checkpoint.weights_of(weights, Path(path))[0], flags=flags)


def _trained(state: dict[str, Any], file: Path) -> dict[str, Any]:
    opt = state.get("opt", {})
    flags = vars(opt) if isinstance(opt, Namespace) else opt if isinstance(opt, dict) else {}
    known = {**StoredRun(file.parent).config, **flags}
    types = {"dataset": str, "epochs": int, "train_fraction": float, "holdout": int, "distill": str, "mix": str,
             "pmixup": bool}
    known = {name: known[name] for name, flag_type in types.items() if type(known.get(name)) is flag_type}
    if type(state.get("epoch")) is int and "accuracy" in state:  # ckpt_epoch_N.pth: a state on the way
        known["epochs"] = min(state["epoch"], known.get("epochs", state["epoch"]))
    return known


def network_named(text: str) -> str | None:
    """The network that ``text`` names first, as a whole word: wrn_40_2 in 'wrn_40_2_vanilla', never resnet8 in
    'resnet8x4'. None if it names none."""
    longest_first = "|".join(sorted(map(re.escape, any_model), key=len, reverse=True))
    found = re.search(rf"(?<![A-Za-z0-9])({longest_first})(?![A-Za-z0-9])", text)
    return found[1] if found else None


def check_data(file: TeacherFile, name: str) -> None:
    """Before data set ``name`` is loaded: raises UserError where that name shows that its classes are more or fewer;
    a warning where the file was trained on another, whose classes can't be compared."""
    if name in dataset.CLASSES:
        _check_count(file, dataset.CLASSES[name])
    trained = file.trained.get("dataset", name)
    if trained != name and not {trained, name} <= set(dataset.FOLDERS):
        print(f"WARNING {file.flags[0]} {file.path}: trained on {trained}, so its classes are perhaps not those of "
              f"--dataset {name}", flush=True)


def _check_count(file: TeacherFile, num_classes: int) -> None:
    last = [w for name, w in file.weights.items() if name.endswith("weight") and w.ndim == 2]
    if last and last[-1].shape[0] != num_classes:
        raise UserError(f"{file.flags[0]} {file.path}: a {file.arch} of {last[-1].shape[0]} classes, but the data "
                        f"set has {num_classes}; take a checkpoint trained on it, or another --dataset")


def build(file: TeacherFile, num_classes: int, classes: tuple[str, ...] = ()) -> nn.Module:
    """The network with its weights; a mismatch is one line. classes: the data's, in order, where they have names."""
    model = any_model[file.arch](num_classes=num_classes)
    _check_count(file, num_classes)
    if classes and file.classes and classes != file.classes:
        ours, theirs = next((a, b) for a, b in zip(classes, file.classes, strict=True) if a != b)
        raise UserError(f"{file.flags[0]} {file.path}: trained on other classes, {theirs!r} where --data_dir has "
                        f"{ours!r}; take a checkpoint trained on these folders")
    try:
        checkpoint.load_weights(model, file.weights, file.path, file.arch)
    except UserError as error:
        raise UserError(f"{file.flags[0]} {error}; {file.flags[1]} names the architecture") from None
    if file.changes:
        print(f"{file.path}: {file.changes}", flush=True)
        file.changes = ""  # once, however many runs read it
    return model.eval()


class Teacher:
    """Returns (features, logits) of a batch, without autograd, batch norm folded into the convolutions.

    features: whether to return features at all; preact: those before the last ReLU of a stage. It computes in the
    student's precision, or in that of ``--teacher_precision``; its outputs are then in single precision.
    """

    def __init__(self, model: nn.Module, opt: Namespace, device: torch.device, features: bool, preact: bool):
        self.model = folded(model).to(device)
        if opt.kernels == "native":
            self.model = fused(accelerate(self.model), features, features and preact)
        self.own = opt.teacher_precision != "same"
        self.precision = opt.teacher_precision if self.own else opt.precision
        dtype = HALF.get(self.precision, torch.float32)
        if dtype != torch.float32:  # once, in place of autocast's cast of every weight in every step
            for layer in self.model.modules():
                if isinstance(layer, (nn.Conv2d, nn.Linear)):  # a norm that is not folded stays in single precision
                    layer.to(dtype)
        if device.type == "cuda" and cudnn_fuses(device, dtype):
            self.model = fused_for_cuda(self.model, features, features and preact)
        self.autocast = autocast(self.precision, device)
        self.top1: float | None = None  # on a run's validation images, per cent; measured when it starts
        self.device = device
        self.features, self.preact = features, preact

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        with self.autocast:
            features, logits = (self.model(images, True, self.preact) if self.features
                                else ([], self.model(images, False, False)))
        if self.own:
            return [feature.float() for feature in features], logits.float()
        return features, logits


@dataclass(frozen=True)
class TeacherBatch(dataset.Batch):
    """A batch with the teacher's logits (B, K) for it, and its features where the method reads them."""

    logits_t: Tensor
    features_t: tuple[Tensor, ...] = ()


def steps_ahead(device: torch.device, batch_size: int, features: bool) -> int:
    """Steps for which the teacher computes ahead on a device."""
    return 1 if features else max(1, IMAGES_AHEAD[device.type] // batch_size)


def with_teacher(teacher: Callable, steps: int, epoch: Callable[[int], Iterator[dataset.Batch]],
                 start: int) -> Iterator[TeacherBatch]:
    """The batches of an epoch from step ``start`` on with the teacher's outputs, computed for ``steps`` at once.

    teacher: from images to (features, logits). epoch: from a step to the epoch's batches from there on. Chunks begin at
    fixed steps, so that a run resumed within one gets the outputs that it would have had without a pause.
    """
    first = start - start % steps
    batches = epoch(first)
    while chunk := list(islice(batches, steps)):
        features, logits = teacher(torch.cat([b.images for b in chunk]) if len(chunk) > 1 else chunk[0].images)
        sizes = [len(batch.labels) for batch in chunk]
        parts = zip(*(f.split(sizes) for f in features), strict=True) if features else [()] * len(chunk)
        outputs = zip(chunk, logits.split(sizes), parts, strict=True)
        for step, (batch, logits_t, features_t) in enumerate(outputs, first):
            if step >= start:
                columns = {field.name: getattr(batch, field.name) for field in fields(batch)}
                yield TeacherBatch(**columns, logits_t=logits_t, features_t=features_t)
        first += len(chunk)
