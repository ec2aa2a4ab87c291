"""What bounds a training: the loader alone, the step alone on prepared batches, and both as in training."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from itertools import cycle, islice

import torch

from helper.teacher import steps_ahead
from models import any_model

from .timing import Bench, endless_epochs, timed


class Ready:
    """A loader whose batches are made: those given, over and over, already on the device."""

    def __init__(self, loader, batches: list):
        self.batch_size, self.steps, self.made = loader.batch_size, loader.steps, batches

    def epoch(self, seed, epoch, phase=0, start=0) -> Iterator:
        return islice(cycle(self.made), 1000)


def measure_feed(opt: Namespace, data, device: torch.device, pair: str, method: str) -> dict[str, float]:
    """Print and return images per second of the three. Images of a file are decoded and cut by the loader."""
    name_t, name_s = pair.split(":")
    torch.manual_seed(0)
    model_t = any_model[name_t](num_classes=data.num_classes)
    bench = Bench(opt, data, model_t, name_s, method, device, min(opt.batch_size, len(data.train)))
    loader = bench.loader
    wanted = min(loader.n_data // loader.batch_size, steps_ahead(device, loader.batch_size, False))
    ready = list(islice(loader.epoch(1, 1), wanted))
    steps = opt.steps or (100 if device.type == "cuda" else 10)

    load = loader.batch_size / timed(lambda _: None, endless_epochs(loader), steps, opt.rounds, device)
    print(f"feed  {pair:<24}{method:<12}loader {load:.1f} images/s, ", end="", flush=True)  # the next may take minutes
    bench.loader = Ready(loader, ready)
    step = bench.images / timed(bench.step, bench.batches(), steps, opt.rounds, device)
    print(f"step {step:.1f}, ", end="", flush=True)
    bench.loader = loader
    both = bench.images / timed(bench.step, bench.batches(), steps, opt.rounds, device)
    bound = "the loader; give it more processes (--num_workers)" if load < step else "the step"
    print(f"both in training {both:.1f}: bound by {bound}", flush=True)
    return {"loader": load, "step": step, "training": both}
