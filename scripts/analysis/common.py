"""What the analyses of trained networks share: flags, loading, test images, tables and pictures.

An analysis looks at networks through their pixels, in [0, 1]: the normalisation is part of the network. It writes
its tables (CSV), its pictures (PNG) and args.json, with their command and versions, into the folder ``--out``.
"""
from __future__ import annotations

import io
import json
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dataset
from dataset.data import Data, stratified
from helper import device as devices
from helper import files
from helper.argtypes import Parser, folder_path, name_from, number, path
from helper.errors import UserError
from helper.options import add_dataset
from helper.recipe import full_recipe
from helper.stored_runs import FOLDERS, StoredRun
from helper.teacher import TeacherFile, build, check_data, read_teacher
from models import any_model
from models.folding import folded

from .drawing import COLOURS, MARKERS

# Flags --------------------------------------------------------------------------------------------------------------


def make_parser(description: str | None) -> Parser:
    """A parser with what every command over checkpoints takes; the caller adds its paths and its own flags."""
    parser = Parser(description=description)
    group = parser.add_argument_group("data and running")
    add_dataset(group)
    group.add_argument("--limit", type=number(int, low=1), default=None, metavar="N",
                       help="only N test images, class-balanced, as the outputs are then labelled (default: all)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    group.add_argument("--precision", type=name_from(("fp32", "tf32"), "precision"), default=None,
                       help="default: as in training, tf32 convolutions on CUDA, fp32 on the CPU")
    group.add_argument("--threads", type=number(int, low=0, high=1024), default=0,
                       help="CPU threads (default: all cores)")
    return parser


def add_networks(parser: Parser, out: str) -> None:
    """The flags of an analysis of several checkpoints: --paths, --models, --labels, --out, --batch_size, --seed."""
    model = name_from(any_model, "model")
    group = parser.add_argument_group("networks and outputs")
    group.add_argument("--paths", type=path, nargs="+", required=True, metavar="CKPT",
                       help="checkpoints, of this project or RepDistiller's, all trained on --dataset")
    group.add_argument("--models", type=model, nargs="+", default=None, metavar="NAME",
                       help="their architectures (default: the one in the checkpoint, else from its folder's name)")
    group.add_argument("--labels", nargs="+", default=None, metavar="TEXT",
                       help="what tables and pictures call them (default: from the run, else the folder's name)")
    group.add_argument("--out", type=folder_path, default=out, metavar="FOLDER", help=f"outputs (default {out})")
    group.add_argument("--batch_size", type=number(int, low=1, high=65536), default=250, help="(default 250)")
    group.add_argument("--seed", type=number(int, low=0, high=2**32 - 1), default=0,
                       help="of all random numbers (default 0)")


def list_of(kind: Callable) -> Callable[[str], list]:
    """Type of a flag that takes different values between commas, each as ``kind`` parses it; kept in their order."""
    def parse(text: str) -> list:
        values = [kind(part) for part in text.split(",")]
        if len(set(values)) < len(values):
            raise ArgumentTypeError(f"{text!r} names a value twice")
        return values

    return parse


# Networks and images ------------------------------------------------------------------------------------------------


class OnPixels(nn.Module):
    """A network on pixels in [0, 1]: normalisation first. Called as the network is, with ``is_feat`` if wanted."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.net = net
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor, **kwargs):
        return self.net((pixels - self.mean) / self.std, **kwargs)


@dataclass(frozen=True)
class Network:
    """label: its name in tables and pictures. model: :class:`OnPixels`, frozen, batch norm folded. style: how a line
    of it is drawn, the same in every picture."""

    label: str
    file: TeacherFile
    model: nn.Module
    style: dict[str, Any]


def default_label(file: TeacherFile) -> str:
    """From the run's args.json, else the architecture and the rest of the folder's name."""
    folder = file.path.resolve().parent
    if folder.parent.name in FOLDERS and (label := StoredRun(folder).label):
        return label + less_of(file)
    rest = folder.name.removeprefix("S=").removeprefix(file.arch)
    return f"{file.arch} {rest.replace('_', ' ').strip()}".strip() + less_of(file)


def less_of(file: TeacherFile) -> str:
    """', reduced: --epochs 3' of a network whose file states less than the full recipe."""
    less = file.less_than({name: value for name, value in full_recipe(file.trained).items() if name != "dataset"})
    return f", reduced: {' '.join(less)}" if less else ""


def label_all(opt: Namespace, files: Sequence[TeacherFile]) -> list[str]:
    """--labels, or the default ones, where equal ones are distinguished by file, else by path."""
    if opt.labels:
        labels = opt.labels
        if len(set(labels)) < len(labels):
            raise UserError("--labels: two of them are equal; give each checkpoint its own")
        return labels
    labels = [default_label(file) for file in files]
    for more in (lambda f: f.path.stem, lambda f: f.path.resolve().parent.name, lambda f: str(f.path)):
        twice = {label for label in labels if labels.count(label) > 1}
        labels = [f"{label}, {more(f)}" if label in twice else label for label, f in zip(labels, files, strict=True)]
    return labels


def read_files(opt: Namespace) -> list[TeacherFile]:
    for flag in ("models", "labels"):
        given = getattr(opt, flag)
        if given and len(given) != len(opt.paths):
            raise UserError(f"--{flag}: {len(given)} given for {len(opt.paths)} checkpoints; give one for each")
    resolved = [Path(p).resolve() for p in opt.paths]
    twice = [p for p, r in zip(opt.paths, resolved, strict=True) if resolved.count(r) > 1]
    if twice:
        raise UserError(f"--paths: {twice[0]} is given twice")
    archs = opt.models or [None] * len(opt.paths)
    return [read_teacher(p, arch, ("--paths", "--models")) for p, arch in zip(opt.paths, archs, strict=True)]


def take_dataset(opt: Namespace, checkpoints: Sequence[TeacherFile]) -> None:
    """Without --dataset: the one stored in the checkpoints, if there is one."""
    stated = {file.trained["dataset"] for file in checkpoints if file.trained.get("dataset") in dataset.NAMES}
    if "dataset" not in opt.given and stated:
        if len(stated) > 1:
            raise UserError(f"--paths: trained on different data sets, {', '.join(sorted(stated))}; name one with "
                            "--dataset")
        opt.dataset, = stated


def load_data(opt: Namespace, checkpoints: Sequence[TeacherFile] = ()) -> tuple[Data, int]:
    """The data set with at most --limit test images, and how many there are in all; it must fit the checkpoints."""
    for file in checkpoints:
        check_data(file, opt.dataset)
    data = dataset.load(opt.dataset, opt.data_dir)
    total = len(data.test)
    if opt.limit and opt.limit < total:
        data = replace(data, test=data.test.take(stratified(data.test.labels, opt.limit)))
    return data, total


def prepare_device(opt: Namespace) -> torch.device:
    """The device, with algorithms chosen so that a second run gives the same figures."""
    device = devices.pick_device(opt.device)
    devices.set_threads(opt.threads)
    devices.set_precision(opt.precision or devices.default_precision(device), device)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    return device


class Study:
    """Networks, test images and the folder that an analysis writes to.

    pixels: float32 (N, C, H, W) in [0, 1] and labels: int64 (N,), on the device. total: test images in all.
    """

    def __init__(self, opt: Namespace):
        """Raises UserError or DataError, before anything is computed, for what can't be read or written."""
        self.opt, self.folder = opt, Path(opt.out)
        files = read_files(opt)
        labels = label_all(opt, files)
        take_dataset(opt, files)
        self.device = prepare_device(opt)
        if opt.dataset in dataset.FOLDERS:
            raise UserError(f"--dataset {opt.dataset}: this command holds all test images at once and is for "
                            "small ones; scripts.evaluate serves folders of images")
        self.data, self.total = load_data(opt, files)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {opt.out}: {error.strerror}; name another folder") from None
        unit = replace(self.data, mean=(0.0,) * len(self.data.mean), std=(1.0,) * len(self.data.std))
        batches = list(dataset.eval_batches(self.data.test, unit, self.device, opt.batch_size))
        self.pixels, self.labels = (torch.cat(part) for part in zip(*batches, strict=True))
        self.networks = []
        for i, (file, label) in enumerate(zip(files, labels, strict=True)):
            model = OnPixels(folded(build(file, self.data.num_classes)), self.data.mean, self.data.std)
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
            self.networks.append(Network(label, file, model.to(self.device).eval(), style))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(pixels, labels) in the order of the test set."""
        yield from zip(self.pixels.split(self.opt.batch_size), self.labels.split(self.opt.batch_size), strict=True)

    @torch.no_grad()
    def logits(self, model: Callable[[Tensor], Tensor], pixels: Tensor | None = None) -> Tensor:
        """float64 (N, K) on the host, of all test images or of others like them."""
        batches = (self.pixels if pixels is None else pixels).split(self.opt.batch_size)
        return torch.cat([model(batch).double().cpu() for batch in batches])

    @property
    def scope(self) -> str:
        """'cifar100, 10000 test images', or what part of them; and whether the networks are reduced ones."""
        return scope(self.data, self.total) + self.reduced

    @property
    def reduced(self) -> str:
        """For titles: not empty if a network was trained on less than the full recipe."""
        return ", reduced training" if any(less_of(network.file) for network in self.networks) else ""

    def save_table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """CSV in the folder. Each row has the data set, the number of images (its own, if it has one), and whether the
        test images are fewer than all or the network was trained on less than the full recipe."""
        fewer = len(self.labels) < self.total
        less = {network.label: bool(less_of(network.file)) for network in self.networks}
        lines = []
        for row in rows:
            values = {**row, "dataset": self.data.name, "images": row.get("images", len(self.labels)),
                      "reduced": fewer or less.get(row.get("network"), False)}
            lines.append({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in values.items()})
        self._save(name, files.csv_text(lines, list(lines[0])).encode())

    def save_figure(self, name: str, figure) -> None:
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=150, facecolor="white")
        self._save(name, buffer.getvalue())

    def save_settings(self) -> None:
        """args.json: the flags, the checkpoints with their digests, torch and the hardware."""
        flags = {k: v for k, v in vars(self.opt).items() if k in self.opt.defaults}
        networks = [{"label": n.label, "path": str(n.file.path), "model": n.file.arch, "sha256": n.file.sha256}
                    for n in self.networks]
        about = {"flags": flags, "networks": networks, "images": len(self.labels), "of": self.total,
                 "torch": torch.__version__, "device": devices.describe(self.device)}
        self._save("args.json", (json.dumps(about, indent=2) + "\n").encode())

    def _save(self, name: str, content: bytes) -> None:
        files.save_bytes(content, self.folder / name)
        print(f"==> {self.folder / name}")


def scope(data: Data, total: int) -> str:
    """What was looked at, for titles and printed lines."""
    if len(data.test) < total:
        return f"{data.name}, reduced to {len(data.test)} of {total} test images"
    return f"{data.name}, {total} test images"
