"""What both training scripts do between their flags and their first epoch."""
from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import dataset
from distiller_zoo import Distiller, Pair
from models import any_model, cpu_kernels, model_dict

from . import device as devices
from . import resume
from .errors import UserError
from .learner import Learner
from .loops import Loop
from .options import mix_of, seed_of
from .record import Run
from .step import Trainer

FORMAT = torch.channels_last  # what cuDNN's tensor cores and oneDNN's blocked kernels read without a copy


def resolve_device(opt: Namespace, uncapturable: str = "") -> torch.device:
    """Fill in device, precision, step and kernels as they will be used, and say what was chosen and why."""
    device = devices.pick_device(opt.device)
    opt.device = str(device)
    opt.precision = opt.precision or devices.default_precision(device)
    if opt.step == "graph" and device.type != "cuda":
        raise UserError("--step graph: a CUDA graph needs --device cuda; on the CPU use eager or compile")
    opt.step = opt.step or ("graph" if device.type == "cuda" else "eager")
    if opt.precision == "tf32" and device.type == "cpu":
        print("WARNING --precision tf32 changes nothing on the CPU")
    if opt.step == "graph" and opt.on_nan == "skip":
        uncapturable = "--on_nan skip looks at every loss"
    if opt.step == "graph" and uncapturable:
        print(f"==> --step eager in place of graph: {uncapturable}")
        opt.step = "eager"
    opt.kernels = _pick_kernels(opt, device)
    devices.set_threads(opt.threads)
    devices.set_precision(opt.precision, device)
    return device


def _pick_kernels(opt: Namespace, device: torch.device) -> str:
    """native or torch; ``--kernels auto`` takes what there is, ``--kernels native`` is held to its word."""
    asked, unfit = opt.kernels == "native", ""
    if device.type != "cpu":
        unfit = f"they are for the CPU, not for --device {opt.device}"
    elif opt.precision == "bf16":
        unfit = "they compute in single precision, not in --precision bf16"
    elif opt.kernels != "torch":
        try:
            cpu_kernels.load()
        except cpu_kernels.Unavailable as error:
            unfit = str(error)
            if not asked:
                print(f"==> --kernels torch, which are slower: {error}")
    if asked and unfit:
        raise UserError(f"--kernels native: {unfit}; use --kernels auto")
    return "torch" if unfit or opt.kernels == "torch" else "native"


@dataclass
class Claim:
    """The runs of all trials, looked up but not yet touched, with their configurations."""

    runs: list[Run]
    configs: list[dict]

    @classmethod
    def look_up(cls, opt: Namespace, folders: tuple[str, str], name: Callable[[Namespace, str], str]) -> Claim:
        """Raises UserError where a folder holds a run that must not be touched; writes nothing."""
        wanted = Path(opt.save_dir).absolute()
        existing = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise UserError(f"--save_dir {opt.save_dir}: {existing} is not a folder that can be written to")
        configs = [resume.config_of(opt, trial) for trial in opt.trial]
        runs = [resume.find_run(opt, name(opt, trial), config, folders)
                for trial, config in zip(opt.trial, configs, strict=True)]
        return cls(runs, configs)

    def finished(self) -> bool:
        """Whether ``--resume`` finds every run complete; then it shows their summaries and nothing is left to do."""
        if not all(run.finished for run in self.runs):
            return False
        for run in self.runs:
            summary = run.summary()
            print(f"==> {run.folder} is finished: last accuracy {summary['last_top1']:.2f}, "
                  f"best accuracy {summary['best_top1']:.2f} after {summary['epochs']} epochs")
        return True

    def take(self, opt: Namespace, learners: Sequence[Learner], device: torch.device) -> None:
        """Lock every folder, restore what is resumed, start the records; an error leaves no folder behind."""
        try:
            for run in self.runs:
                run.lock()
            for run, config, learner in zip(self.runs, self.configs, learners, strict=True):
                self._restore(opt, run, config, learner)
            for run, config, learner in zip(self.runs, self.configs, learners, strict=True):
                if not run.finished:
                    run.start(config, learner.history, devices.describe(device))
                    print(f"==> {run.folder}")
        except BaseException:
            for run in self.runs:
                run.undo()
            raise

    @staticmethod
    def _restore(opt: Namespace, run: Run, config: dict, learner: Learner) -> None:
        def restore(state: dict) -> None:
            learner.load_state_dict(state)
            run.points = state["points"]

        if not opt.resume or not resume.load_state(run, config, restore):
            run.clear()
            return
        run.finished = run.finished and learner.done
        print(f"==> trial {learner.trial}: " + ("finished" if run.finished else
              f"going on after {learner.stage} epoch {learner.epoch}, step {learner.step}"))


def load_data(opt: Namespace):
    """The data set and its hold-out split, as the flags ask."""
    return dataset.load(opt.dataset, opt.data_dir, opt.holdout, opt.train_fraction)


def make_loader(opt: Namespace, data, device: torch.device):
    return dataset.make_loader(data, opt.batch_size, mix_of(opt), device, opt.loader, opt.num_workers, len(opt.trial),
                               FORMAT)


def check_batches(opt: Namespace, n: int, method: type[Distiller]) -> None:
    """A method that compares the samples of a batch needs several, in the short last batch too."""
    smallest = min(n % opt.batch_size or opt.batch_size, n)
    if smallest < method.min_batch:
        raise UserError(f"--batch_size {opt.batch_size}: the last of {n} images come as a batch of {smallest}, but "
                        f"--distill {opt.distill} needs at least {method.min_batch}; choose another size")


def warn_of_size(opt: Namespace, data, networks: Sequence[str]) -> None:
    """A network works on images of any size, but was made for 32x32 or for 224x224."""
    large = data.image_shape[1] > 64
    for name in networks:
        if (name in model_dict) == large:
            made, better = ("32x32", "a network of torchvision's") if large else ("224x224", "one of RepDistiller's")
            size = f"{data.image_shape[1]}x{data.image_shape[2]}"
            opt.warnings.append(f"{name} was made for {made} images and gets {size}; {better} suits them")


def shapes_of(model: nn.Module, image_shape: Sequence[int], preact: bool) -> list[torch.Size]:
    """Shapes (2, ...) of a network's features for images (C, H, W)."""
    model.eval()
    with torch.no_grad():
        return [f.shape for f in model(torch.zeros(2, *image_shape), is_feat=True, preact=preact)[0]]


def make_learners(opt: Namespace, name: str, num_classes: int, device: torch.device,
                  method: Callable[[int], Distiller]) -> list[Learner]:
    """One learner a trial, each built from its own seed alone: on the CPU company changes nothing at all, on CUDA only
    the order in which numbers are rounded.

    method: from a seed to the (fresh) method, called under that seed.
    """
    learners = []
    for trial in opt.trial:
        seed = seed_of(trial)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = any_model[name](num_classes=num_classes)
            criterion = method(seed)
        model = model.to(device, memory_format=FORMAT)
        if opt.kernels == "native":
            model = cpu_kernels.accelerate(model)
        learners.append(Learner(opt, trial, seed, model, criterion.to(device)))
    return learners


def run(opt: Namespace, claim: Claim, learners: Sequence[Learner], teacher, data, loader, device: torch.device,
        arch: str, role: str) -> None:
    """Train all learners to the end and print where their results lie, with mean and deviation over trials."""
    about = {"arch": arch, "num_classes": data.num_classes, "dataset": data.name, "role": role}
    trainer = Trainer(opt, teacher, learners, device)
    test = dataset.make_test_batches(data, device, FORMAT, opt.num_workers)
    Loop(opt, trainer, learners, claim.runs, claim.configs, loader, test, about).fit()
    last = torch.tensor([learner.history[-1]["test_acc"] for learner in learners], dtype=torch.float64)
    best = [learner.best["top1"] for learner in learners]
    for learner, folder, top1 in zip(learners, claim.runs, best, strict=True):
        print(f"trial {learner.trial}: last accuracy {learner.history[-1]['test_acc']:.2f}, best accuracy {top1:.2f}  "
              f"{folder.folder}")
    if len(learners) > 1:
        print(f"last accuracy over {len(learners)} trials: mean {last.mean():.2f}, standard deviation {last.std():.2f}")


def show(opt: Namespace) -> None:
    """Print the resolved configuration, and a warning for every flag that changes nothing."""
    for name, value in sorted(vars(opt).items()):
        if name not in ("given", "defaults", "warnings"):
            print(f"{name:>16} : {','.join(map(str, value)) if isinstance(value, list) else value}")
    for warning in opt.warnings:
        print(f"WARNING {warning}", flush=True)


def pair_of(model_s: nn.Module, model_t: nn.Module, data, method: type[Distiller]) -> Pair:
    """What a method may know of its two networks and its data."""
    shape = data.image_shape
    return Pair(shapes_of(model_s, shape, method.preact), shapes_of(model_t, shape, method.teacher_preact()),
                len(data.train), data.num_classes, labels=data.train.labels)
