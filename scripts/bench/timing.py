"""What the benchmark times: a step and an epoch of ours and of the classic path."""
from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from statistics import median

import torch

import dataset
from distiller_zoo import DistillError, distiller_dict
from helper.device import resolve_device
from helper.evaluate import evaluate
from helper.fit import Fit
from helper.options import loader_of, parse_student
from helper.pair import pair_of
from helper.run import Run, config_of
from helper.setup import make_engine
from helper.teacher import Teacher
from models import any_model

from .classic import Classic


def options_for(opt: Namespace, model_s: str, method: str, batch_size: int) -> Namespace:
    """The flags that train_student_mixstd.py would resolve to."""
    words = ["--model_s", model_s, "--distill", method, "--mix", opt.mix, "--batch_size", str(batch_size),
             "--device", opt.device, "--trial", ",".join(opt.trial), "--dataset", opt.dataset,
             "--data_dir", opt.data_dir]
    for name in ("precision", "step", "kernels", "num_workers"):
        words += [f"--{name}", str(getattr(opt, name))] if getattr(opt, name) is not None else []
    return parse_student(words)


class Bench:
    """The project's engines for a pair and a method, one per trial, fed with endless batches."""

    def __init__(self, opt: Namespace, data, model_t, model_s: str, method: str, device, batch_size: int):
        self.opt, self.data, self.device = options_for(opt, model_s, method, batch_size), data, device
        kind = distiller_dict[method]
        resolve_device(self.opt, kind.uncapturable)
        pair = pair_of(any_model[model_s](num_classes=data.num_classes), model_t, data, kind)
        if why := kind.unsupported(self.opt, pair):
            raise DistillError(why)
        self.loader = loader_of(self.opt, data, device, len(opt.trial))
        teacher = Teacher(model_t, self.opt, device, kind.needs_features, kind.teacher_preact())
        test = dataset.make_test_batches(data, device)
        about = {"arch": model_s, "num_classes": data.num_classes, "dataset": data.name, "role": "student"}
        self.fits = []
        for trial in self.opt.trial:
            flags = Namespace(**{**vars(self.opt), "trial": [trial]})
            engine = make_engine(flags, model_s, data.num_classes, device,
                                 lambda seed: kind(self.opt, replace(pair, seed=seed)), teacher)
            engine.enter("main")
            self.fits.append(Fit(flags, engine, self.loader, test, about))
            self.fits[-1].begin_epoch()
        self.images = batch_size * len(self.fits)

    def batches(self) -> Iterator:
        """The first epoch of every run over and over."""
        for fit in self.fits:
            fit.loader = self.loader
        epochs = [chain.from_iterable(fit.batches(0) for _ in range(10**6)) for fit in self.fits]
        return (row for row in zip(*epochs, strict=True) if len(row[0].labels) == self.opt.batch_size)

    def step(self, row) -> None:
        for fit, batch in zip(self.fits, row, strict=True):
            fit.engine.step(batch)


def in_turns(contestants: Sequence[tuple[Callable, Iterator, int]], rounds: int, device,
             uncounted: int = 0) -> list[float]:
    """Median seconds of a step of each (step, batches, steps a turn), the making of its batch included.

    They take turns, so that what else the machine does meets all alike; one round is warm-up. A turn begins with
    ``uncounted`` steps: they use up what a loader's workers fetched while another had its turn.
    """
    def turn(step: Callable, batches: Iterator, steps: int) -> float:
        for _ in range(uncounted):
            step(next(batches))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        for _ in range(steps):
            step(next(batches))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - began) / steps

    for one in contestants:
        turn(*one)
    times = [[turn(*one) for one in contestants] for _ in range(rounds)]
    return [median(of_one) for of_one in zip(*times, strict=True)]


def timed(step: Callable, batches: Iterator, steps: int, rounds: int, device) -> float:
    """Median seconds of a step alone."""
    return in_turns([(step, batches, steps)], rounds, device)[0]


def endless(make: Callable[[], Iterator]) -> Iterator:
    while True:
        yield from make()


def endless_epochs(loader) -> Iterator:
    """The loader's batches, epoch after epoch."""
    return chain.from_iterable(loader.epoch(1, epoch) for epoch in range(1, 10**6))


def make_classic(opt, data, device, model_t, name_s: str, method: str) -> Classic:
    kind = distiller_dict[method]
    flags = options_for(opt, name_s, method, opt.batch_size)
    model_s = any_model[name_s](num_classes=data.num_classes)
    pair = pair_of(model_s, model_t, data, kind)
    return Classic(data, flags, model_t, model_s, kind(flags, pair), device, opt.num_workers)


def classic_epoch(opt, data, device, model_t, name_s: str, method: str) -> float:
    """Seconds of one classic epoch, validation included, after a few steps of warm-up."""
    classic = make_classic(opt, data, device, model_t, name_s, method)
    for batch, _ in zip(classic.batches(), range(3), strict=False):
        classic.step(batch)
    began = time.perf_counter()
    for batch in classic.batches():
        classic.step(batch)
    classic.model_s.eval()
    evaluate(classic.model_s, dataset.eval_batches(data.test, data, device, opt.batch_size // 2))
    return time.perf_counter() - began


@cache
def product_rate(device, size: int = 3072) -> float:
    """Operations per second of a large matrix product in fp32: the peak that this device reaches."""
    left, right = torch.rand(2, size, size, device=device)
    seconds = timed(lambda _: left @ right, iter(int, None), 2, 5, device)
    return 2 * size**3 / seconds


def step_parts(bench: Bench, rounds: int, steps: int, device) -> dict[str, float]:
    """Seconds of a step's parts for its first seed, each timed alone: the batch; the teacher's forward pass; the
    student's, and backward from a plain sum of its logits and features. What is left of a step is losses, optimiser
    and metrics, and what the parts cost less or more together."""
    engine = bench.fits[0].engine
    images = next(bench.batches())[0].images

    def student(_) -> None:
        engine.optimizer.zero_grad(set_to_none=True)
        features, logits = engine.student(images)
        sum(value.float().sum() for value in (*features, logits) if value.requires_grad).backward()

    parts = [("batch", lambda _: None, endless_epochs(bench.loader)),
             ("teacher", lambda _: engine.teacher(images), iter(int, None)),
             ("student", student, iter(int, None))]
    contestants = [(work, batches, steps) for _, work, batches in parts]
    return dict(zip((name for name, _, _ in parts), in_turns(contestants, rounds, device), strict=True))


def our_epochs(bench: Bench, data, device, name_s: str, epochs: int) -> tuple[float, float]:
    """Seconds of a whole epoch of ours, evaluation, tables, TensorBoard and checkpoints included, and of its tail, all
    that is not steps: medians of the epochs from the third on, as in the first two graphs are captured and caches
    filled."""
    ends = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        for fit in bench.fits:
            fit.opt.epochs, fit.opt.print_freq = epochs, 10**6
            fit.run = Run(Path(folder, "run", fit.trial), Path(folder, "tb", fit.trial),
                          config_of(fit.opt, fit.trial))
            fit.run.lock()
            fit.run.start([])
        for _ in range(epochs):
            for _ in zip(*(fit.train_epoch() for fit in bench.fits), strict=True):
                pass
            ends.append(time.perf_counter())
    whole = [after - before for before, after in pairwise(ends)]
    steps = [row["seconds"] for row in bench.fits[0].history]
    tails = [all_of_it - part for all_of_it, part in zip(whole, steps, strict=True)]
    return median(whole[2:]), median(tails[2:])
