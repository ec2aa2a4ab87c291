"""One experiment of scripts/bench/device.sh in a process of its own; prints its result as JSON, one line.

    python -m scripts.bench.device card|profile|lanes|epochs|VARIANT [--device cpu --steps 2]

Images and weights are random; resnet56 > resnet20, mixstd, batch 64 unless --pair and --batch_size set others.
card: rates of a device-to-device copy and of matrix products. profile: kernels of a step by their full names, and how
long the host takes to enqueue one. A variant (base: none) is trained for 20 steps beside the eager step, then timed in
turns with the unchanged step. lanes: the runs of --trial side by side, each on its own stream, with batches and teacher
of their own and shared, in time and in the process's CPU time. epochs: whole epochs by the training loop.
"""
from __future__ import annotations

import contextlib
import json
import time
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from statistics import median

import torch

import dataset
from helper import together
from helper.argtypes import Parser, number, trial_list
from helper.device import describe, pick_device
from models import any_model
from models.cuda_kernels import norms_by_triton
from models.half_weights import weights_cast_at_once
from models.side_gradients import gradients_beside

from .ahead import put_ahead
from .timing import Bench, our_epochs


def side(bench: Bench) -> None:
    """Gradients of the weights beside the backward pass."""
    for fit in bench.fits:
        gradients_beside(fit.engine.model, torch.cuda.Stream() if bench.device.type == "cuda" else None)


def norms(bench: Bench) -> None:
    """Batch norm, sum and ReLU by Triton."""
    for fit in bench.fits:
        norms_by_triton(fit.engine.model)


def ahead(bench: Bench) -> None:
    """The teacher a chunk ahead, on a stream of low priority."""
    for fit in bench.fits:
        put_ahead(fit)


def casts(bench: Bench) -> None:
    """Under --precision bf16 all weights of convolutions are cast by one copy."""
    for fit in bench.fits:
        weights_cast_at_once(fit.engine.model)


def plans(bench: Bench) -> None:
    """cuDNN tries all its plans, not ten. It keeps what it found for a shape, so :func:`main` sets it for the whole
    process: both figures are with it, those to compare with are another process's."""


# Applied before a Bench's first step; several as side+norms.
VARIANTS = {"base": lambda bench: None, "side": side, "norms": norms, "ahead": ahead, "casts": casts, "plans": plans}
CHECKED = 20  # steps after which a variant's weights are compared with the eager step's


def random_data(n: int) -> dataset.Data:
    generator = torch.Generator().manual_seed(0)
    splits = [dataset.Split(torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator),
                            torch.arange(count) % 100) for count in (n, n // 5)]
    return dataset.Data("random", 100, (0.5,) * 3, (0.25,) * 3, 4, True, *splits)


def make(opt: Namespace, data, variant: str = "base", step: str | None = None) -> Bench:
    """The same weights at every call."""
    teacher, student = opt.pair.split(":")
    torch.manual_seed(0)
    flags = Namespace(**{**vars(opt), "step": step or opt.step})
    bench = Bench(flags, data, any_model[teacher](num_classes=100), student, "mixstd", torch.device(opt.device),
                  opt.batch_size)
    for name in variant.split("+"):
        VARIANTS[name](bench)
    return bench


def wait(opt: Namespace) -> None:
    if opt.device != "cpu":
        torch.cuda.synchronize()


def seconds_a_step(opt: Namespace, benches: list[Bench], rounds: int) -> list[list[float]]:
    """Each bench's turns of ``opt.steps`` steps, taken in turns with the others'; the first turn is warm-up."""
    feeds = [bench.batches() for bench in benches]
    times: list[list[float]] = [[] for _ in benches]
    for _ in range(rounds + 1):
        for bench, batches, found in zip(benches, feeds, times, strict=True):
            wait(opt)
            began = time.perf_counter()
            for _ in range(opt.steps):
                bench.step(next(batches))
            wait(opt)
            found.append((time.perf_counter() - began) / opt.steps)
    return [found[1:] for found in times]


def card(opt: Namespace) -> dict:
    size, device = (8192, opt.device) if opt.device != "cpu" else (256, "cpu")
    source = torch.rand(size * size * (16 if size > 256 else 1), device=device)
    target = torch.empty_like(source)

    def seconds(work) -> float:
        for _ in range(3):
            work()
        wait(opt)
        began = time.perf_counter()
        for _ in range(10):
            work()
        wait(opt)
        return (time.perf_counter() - began) / 10

    found = {"copy_TB_per_s": 2 * 4 * source.numel() / seconds(lambda: target.copy_(source)) / 1e12}
    for name, dtype, tf32 in (("fp32", torch.float32, False), ("tf32", torch.float32, True),
                              ("bf16", torch.bfloat16, False)):
        torch.backends.cuda.matmul.fp32_precision = "tf32" if tf32 else "ieee"
        left, right = torch.randn(2, size, size, device=device).to(dtype)
        found[f"{name}_TFLOP_per_s"] = 2 * size**3 / seconds(partial(torch.mm, left, right)) / 1e12
    return found


def variant(opt: Namespace) -> dict:
    data = random_data(max(20000, 20 * opt.batch_size) if opt.device != "cpu" else 8 * opt.batch_size)
    checked, names = min(CHECKED, opt.steps), opt.experiment
    trained = {}
    for label, what, step in (("eager", "base", "eager"), ("base", "base", None), ("variant", names, None)):
        bench = make(opt, data, what, step)
        start = weights(bench)
        for _, row in zip(range(checked), bench.batches(), strict=False):
            bench.step(row)
        trained[label] = weights(bench)
    moved = (trained["eager"] - start).norm()
    off = {f"{label}_off": float((trained[label] - trained["eager"]).norm() / moved) for label in ("base", "variant")}
    base, other = make(opt, data), make(opt, data, names)
    times = seconds_a_step(opt, [base, other], opt.rounds)
    images = opt.batch_size * len(opt.trial)
    result = {"checked_after": checked, **off}
    for label, found in zip(("base", "variant"), times, strict=True):
        result[f"{label}_ms"] = [round(1000 * s, 4) for s in found]
        result[f"{label}_median_ms"] = 1000 * median(found)
        result[f"{label}_images_per_s"] = images / median(found)
    return result


def weights(bench: Bench) -> torch.Tensor:
    return torch.cat([p.detach().double().reshape(-1) for fit in bench.fits
                      for p in fit.engine.model.parameters()]).cpu()


def profile(opt: Namespace) -> dict:
    bench = make(opt, random_data(4096 if opt.device != "cpu" else 8 * opt.batch_size), opt.variant)
    batches = bench.batches()
    for _ in range(2 if opt.device == "cpu" else 32):
        bench.step(next(batches))
    wait(opt)
    began = time.perf_counter()
    for _ in range(min(16, opt.steps)):
        bench.step(next(batches))
    enqueue = (time.perf_counter() - began) / min(16, opt.steps)
    wait(opt)
    kind = torch.profiler.ProfilerActivity
    steps = min(16, opt.steps)  # on CUDA one chunk of the teacher
    with torch.profiler.profile(activities=[kind.CPU] if opt.device == "cpu" else [kind.CUDA, kind.CPU]) as found:
        for _ in range(steps):
            bench.step(next(batches))
        wait(opt)
    rows: dict[str, list] = {}
    for event in found.events():
        if opt.device == "cpu" or event.device_type == torch.autograd.DeviceType.CUDA:
            entry = rows.setdefault(event.name, [0, 0.0])
            entry[0] += 1
            entry[1] += event.self_cpu_time_total if opt.device == "cpu" else event.self_device_time_total
    top = sorted(rows.items(), key=lambda item: -item[1][1])
    return {"steps": steps, "enqueue_ms": 1000 * enqueue, "nodes_a_step": sum(n for n, _ in rows.values()) / steps,
            "busy_ms_a_step": sum(us for _, us in rows.values()) / steps / 1000,
            "kernels": [{"name": name, "calls_a_step": n / steps, "us_each": us / n, "ms_a_step": us / steps / 1000}
                        for name, (n, us) in top]}


def epochs(opt: Namespace) -> dict:
    bench = make(opt, random_data(50000 if opt.device != "cpu" else 4 * opt.batch_size), opt.variant)
    whole, tail = our_epochs(bench, bench.data, bench.device, opt.pair.split(":")[1], 3 if opt.device == "cpu" else 6)
    return {"epoch_s": whole, "tail_s": tail, "minutes_of_240": 4 * whole}


def lanes(opt: Namespace) -> dict:
    found = {}
    for shared in (False, True):
        bench = make(opt, random_data(4096 if opt.device != "cpu" else 8 * opt.batch_size), opt.variant)
        if shared:
            for fit in bench.fits:
                fit.seed = 1
        cuda = bench.device.type == "cuda"
        streams = [torch.cuda.Stream() if cuda else None for _ in bench.fits]
        for stream in streams if cuda else ():
            stream.wait_stream(torch.cuda.current_stream())

        def a_step(feeds, bench=bench, streams=streams) -> None:
            for fit, feed, stream in zip(bench.fits, feeds, streams, strict=True):
                with torch.cuda.stream(stream) if stream else contextlib.nullcontext():
                    fit.engine.step(next(feed))

        feeds = [feed_of(fit, shared) for fit in bench.fits]
        for _ in range(2 if not cuda else 32):
            a_step(feeds)
        wait(opt)
        began, busy = time.perf_counter(), time.process_time()
        for _ in range(opt.steps):
            a_step(feeds)
        wait(opt)
        seconds, busy = ((now - then) / opt.steps for now, then in ((time.perf_counter(), began),
                                                                    (time.process_time(), busy)))
        name = "shared" if shared else "own"
        found |= {f"{name}_round_ms": 1000 * seconds, f"{name}_cpu_ms": 1000 * busy,
                  f"{name}_images_per_s": len(bench.fits) * opt.batch_size / seconds}
    return found


def feed_of(fit, shared: bool) -> Iterator:
    while True:
        yield from together.batches(fit) if shared else fit.batches(0)


EXPERIMENTS = {"card": card, "profile": profile, "lanes": lanes, "epochs": epochs}


def main(argv=None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("experiment")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=number(int, low=1, high=10000), default=160, help="a turn (default 160)")
    parser.add_argument("--rounds", type=number(int, low=1, high=100), default=5, help="turns (default 5)")
    parser.add_argument("--pair", default="resnet56:resnet20")
    parser.add_argument("--batch_size", type=number(int, low=2, high=4096), default=64)
    parser.add_argument("--precision", default=None)
    parser.add_argument("--step", default=None)
    parser.add_argument("--kernels", default="torch", choices=("torch", "native"), help="on the CPU (default torch)")
    parser.add_argument("--variant", default="base", help="of profile, lanes and epochs: base, side, side+norms, ...")
    parser.add_argument("--trial", type=trial_list, default=["1"], help="1,2,3: three seeds at once")
    opt = parser.parse(argv)
    opt.mix, opt.dataset, opt.data_dir, opt.num_workers = "mixup", "cifar100", "data", None
    device = pick_device(opt.device)
    opt.device = str(device)
    work = EXPERIMENTS.get(opt.experiment, variant)
    words = [opt.variant] if opt.experiment in EXPERIMENTS else [opt.experiment, opt.variant]
    if unknown := [name for word in words for name in word.split("+") if name not in VARIANTS]:
        parser.error(f"{unknown[0]}: choose of {', '.join([*EXPERIMENTS, *VARIANTS])}")
    if any("plans" in word.split("+") for word in words):
        torch.backends.cudnn.benchmark_limit = 0
    result = work(opt)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    print(json.dumps({"experiment": opt.experiment, "variant": opt.variant, "device": describe(device),
                      "torch": torch.__version__, "precision": opt.precision, "pair": opt.pair, "batch": opt.batch_size,
                      "trial": opt.trial, "peak_MB": peak, **result}))


if __name__ == "__main__":
    main()
