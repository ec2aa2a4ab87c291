"""Images per second of the classic path and of ours, in turns in one run.

    python -m scripts.benchmark                                             # what this machine has
    python -m scripts.benchmark --what data --num_workers 2
    python -m scripts.benchmark --pairs resnet56:resnet20,wrn_40_2:wrn_16_2 --methods mixstd,crd --trial 1,2,3
    python -m scripts.benchmark --what feed --dataset folder --data_dir DIR --pairs resnet34:resnet18 --num_workers 8
    python -m scripts.benchmark --profile result/profile.txt --methods mixstd

data: loading, augmenting and mixing alone. step: whole training steps, data included, end to end. train: a whole epoch
with evaluation, record and checkpoint, and what 240 such epochs take. ops: the operations of a step as a CUDA graph,
counted on the CPU (see bench/operations.py). feed: the loader alone, the step alone and both, of any --dataset; the
others take CIFAR-100, as the classic path does. Both paths get warm-up steps, then timed turns;
the median turn counts. Weights are random: they don't change the time. On CUDA the last column compares with the
saturated step, the same networks at batch 1024, per image.
"""
from __future__ import annotations

import copy
import json
import os
import sys
from argparse import Namespace
from pathlib import Path

import torch

import dataset
from distiller_zoo import distiller_dict
from helper import files
from helper.argtypes import Parser, file_path, name_from, number, trial_list
from helper.device import describe, resolve_device
from helper.errors import UserError, guard
from helper.graphs import WARM_UP, norms_counted_at_once
from helper.options import add_dataset, loader_of
from helper.teacher import IMAGES_AHEAD, TeacherBatch, with_teacher
from models import any_model, model_dict
from models.cuda_kernels import norms_by_triton
from models.fusing import fused_for_cuda

from .bench.classic import Classic
from .bench.feed import measure_feed
from .bench.operations import OperationCount
from .bench.timing import (
    Bench,
    classic_epoch,
    endless,
    endless_epochs,
    in_turns,
    make_classic,
    options_for,
    our_epochs,
    product_rate,
    step_parts,
    timed,
)
from .table.costs import image_cost

SATURATED = 1024


def parse(argv) -> Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--what", default="data,step", help="of data, step, train, ops, feed (default data,step)")
    parser.add_argument("--pairs", default="resnet56:resnet20", help="teacher:student,... (default resnet56:resnet20)")
    parser.add_argument("--methods", default="mixstd", help="of --distill's (default mixstd)")
    parser.add_argument("--mix", type=name_from(("none", "mixup"), "mixing"), default="mixup",
                        help="none, mixup: what the classic path has (default mixup)")
    parser.add_argument("--batch_size", type=number(int, low=2, high=4096), default=64)
    parser.add_argument("--trial", type=trial_list, default=["1"], help="1,2,3 measures three seeds at once")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default=None)
    parser.add_argument("--step", default=None)
    parser.add_argument("--kernels", default=None)
    parser.add_argument("--norms", type=name_from(("torch", "triton"), "norms"), default="torch",
                        help="triton: --what ops counts the student with models/cuda_kernels in place of torch's norms")
    parser.add_argument("--num_workers", type=number(int, low=0, high=64), default=None,
                        help="of the classic path and of folders of images (default 2 on the CPU; on CUDA MIX-KD's 8, "
                             "or one a core)")
    parser.add_argument("--rounds", type=number(int, low=1, high=1000), default=5, help="timed turns of each (5)")
    parser.add_argument("--steps", type=number(int, low=1, high=10000), default=None,
                        help="steps a turn (default 10 on the CPU, 100 on CUDA)")
    add_dataset(parser)  # another than the default with --what feed alone
    parser.add_argument("--json", type=file_path(".json"), default=None, help="write the results here")
    parser.add_argument("--profile", type=file_path(".txt", ".log"), default=None,
                        help="write where our step's time goes here")
    opt = parser.parse(argv)
    for name in opt.what.split(","):
        if name not in ("data", "step", "train", "ops", "feed"):
            raise UserError(f"--what {name}: choose of data, step, train, ops, feed")
        if name != "feed" and opt.dataset != parser.get_default("dataset"):
            raise UserError(f"--dataset {opt.dataset}: only --what feed takes it; the classic path has one data set")
        if name != "ops" and opt.norms != "torch":
            raise UserError(f"--norms {opt.norms}: only --what ops takes it; scripts/bench/device.sh times them")
    for pair in opt.pairs.split(","):
        names = pair.split(":")
        if len(names) != 2 or any(name not in any_model for name in names):
            raise UserError(f"--pairs {pair}: give teacher:student, both of {', '.join(any_model)}")
    for name in opt.methods.split(","):
        if name not in distiller_dict:
            raise UserError(f"--methods {name}: choose of {', '.join(distiller_dict)}")
    return opt


def load(opt: Namespace):
    """The real images where they are, else random ones of the same shape and number: the time is the same."""
    try:
        return dataset.load(opt.dataset, opt.data_dir, download=False)
    except dataset.DataError:
        if "feed" in opt.what.split(","):
            raise
        print("==> no CIFAR-100 in --data_dir: random images of its shape and number")
        generator = torch.Generator().manual_seed(0)
        splits = [dataset.Split(torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator),
                                torch.arange(n) % 100) for n in (50000, 10000)]
        return dataset.Data("random", 100, (0.5,) * 3, (0.25,) * 3, 4, True, *splits)


class RateTable:
    """Prints a line for every measurement and keeps it for --json."""

    def __init__(self, file: str | None):
        self.file, self.rows = file, []

    def keep(self, row: dict) -> None:
        """For --json, which is written now: a later measurement may fail."""
        self.rows.append(row)
        if self.file:
            files.save_text(json.dumps(self.rows, indent=2) + "\n", Path(self.file))

    def add(self, what, pair, method, opt, device, classic, own, seeds=1, peak=None, saturated=None) -> None:
        """classic, own: seconds of a step; own advances ``seeds`` students."""
        rates = opt.batch_size / classic, seeds * opt.batch_size / own
        if not self.rows:
            print(f"{'what':<6}{'pair':<24}{'method':<12}{'classic images/s':>17}{'ms':>8}"
                  f"{'ours images/s':>15}{'ms':>8}{'ratio':>8}{'peak MB':>9}{'of saturated':>14}")
        self.keep({"what": what, "pair": pair, "method": method, "device": describe(device), "batch": opt.batch_size,
                   "seeds": seeds, "precision": opt.precision, "step": opt.step, "kernels": opt.kernels,
                   "reference_workers": opt.num_workers, "reference_images_per_s": rates[0],
                   "images_per_s": rates[1], "ratio": rates[1] / rates[0], "peak_memory_mb": peak,
                   "of_saturated": saturated and rates[1] / saturated})
        last = f"{100 * rates[1] / saturated:>12.0f} %" if saturated else f"{'-':>14}"
        memory = f"{peak:>9.0f}" if peak else f"{'-':>9}"
        print(f"{what:<6}{pair:<24}{method:<12}{rates[0]:>17.0f}{1000 * classic:>8.2f}{rates[1]:>15.0f}"
              f"{1000 * own:>8.2f}{rates[1] / rates[0]:>7.1f}x{memory}{last}", flush=True)


def held(opt: Namespace) -> int:
    """More batches than the classic loader's workers fetch ahead: two each."""
    return 2 * opt.num_workers + 1


def measure_data(opt, data, device, table) -> None:
    """Data and mixing alone."""
    flags = options_for(opt, "resnet8", "kd", opt.batch_size)
    steps = opt.steps or 100
    teacher, student = (model_dict["resnet8"](num_classes=data.num_classes) for _ in range(2))
    classic = Classic(data, flags, teacher, student, distiller_dict["kd"](flags, None), device, opt.num_workers)
    loader = loader_of(flags, data, device)
    both = [(lambda batch: None, endless(classic.batches), steps),
            (lambda batch: None, endless_epochs(loader), 10 * steps)]
    table.add("data", "-", opt.mix, opt, device, *in_turns(both, opt.rounds, device, held(opt)))


def measure_step(opt, data, device, table, pair: str, method: str) -> None:
    """Whole steps, data included."""
    name_t, name_s = pair.split(":")
    steps = opt.steps or (100 if device.type == "cuda" else 10)
    torch.manual_seed(0)
    model_t = any_model[name_t](num_classes=data.num_classes)
    classic = make_classic(opt, data, device, copy.deepcopy(model_t), name_s, method)
    bench = Bench(opt, data, model_t, name_s, method, device, opt.batch_size)
    both = [(classic.step, endless(classic.batches), steps), (bench.step, bench.batches(), steps)]
    slow, fast = in_turns(both, opt.rounds, device, held(opt))
    del classic, both
    cuda = device.type == "cuda"
    parts = step_parts(bench, opt.rounds, steps, device)
    rest = ("launched kernel by kernel, as the graph's step is not" if opt.step == "graph"  # longer than the whole
            else f"losses, optimiser and the rest {1000 * (fast - sum(parts.values())):.2f}")
    print("      parts, ms, one seed: " + ", ".join(f"{name} {1000 * seconds:.2f}" for name, seconds in parts.items())
          + f"; {rest}")
    del bench
    peak = peak_memory(opt, data, device, model_t, name_s, method) if cuda else None
    saturated = saturated_rate(opt, data, device, model_t, name_s, method) if cuda else None
    table.add("step", pair, method, opt, device, slow, fast, len(opt.trial), peak, saturated)
    work = 2 * image_cost(name_s, name_t) * opt.batch_size * len(opt.trial)  # a multiply-add is two operations
    rate = product_rate(device)
    print(f"      arithmetic of the networks: {work / 1e9:.1f} GFLOP a step, {1000 * work / rate:.1f} ms at the "
          f"{rate / 1e9:.0f} GFLOP/s of a large fp32 matrix product here; ours goes at {work / fast / 1e9:.0f} GFLOP/s")


def peak_memory(opt, data, device, model_t, name_s: str, method: str) -> float:
    """MB that our step holds at most, alone on the device, from its first allocation on: a graph's memory is taken
    while it is captured, so a replay alone would not show it."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)  # what earlier measurements left
    bench = Bench(opt, data, model_t.cpu(), name_s, method, device, opt.batch_size)
    for row, _ in zip(bench.batches(), range(WARM_UP + 3), strict=False):
        bench.step(row)
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def saturated_rate(opt, data, device, model_t, name_s: str, method: str) -> float | None:
    """Images per second of one seed at batch SATURATED; None where the device has no room for it."""
    try:
        one_seed = Namespace(**{**vars(opt), "trial": ["1"]})
        large = Bench(one_seed, data, model_t.cpu(), name_s, method, device, SATURATED)
        return SATURATED / timed(large.step, large.batches(), 20, opt.rounds, device)
    except torch.cuda.OutOfMemoryError:
        print(f"      no room for a batch of {SATURATED}: not compared with the saturated step")
        return None


def measure_train(opt, data, device, table, pair: str, method: str) -> None:
    """A whole epoch of both: the classic loop with its validation, ours through helper.fit with all it records."""
    name_t, name_s = pair.split(":")
    torch.manual_seed(0)
    model_t = any_model[name_t](num_classes=data.num_classes)
    slow = classic_epoch(opt, data, device, model_t, name_s, method)
    bench = Bench(opt, data, model_t.cpu(), name_s, method, device, opt.batch_size)
    fast, tail = our_epochs(bench, data, device, name_s, epochs=3 if device.type == "cpu" else 8)
    seeds, steps = len(bench.fits), bench.loader.steps
    table.add("train", pair, method, opt, device, slow / steps, fast / steps, seeds)
    print(f"      240 epochs: {240 * slow * seeds / 3600:.2f} h against {240 * fast / 3600:.2f} h for {seeds} seed(s); "
          f"an epoch's tail, from last step to first: {1000 * tail:.0f} ms, {100 * tail / fast:.1f} %")


def measure_operations(opt, data, pair: str, method: str) -> None:
    """Print how many operations our step has on CUDA, and the teacher's where it runs ahead for many steps."""
    name_t, name_s = pair.split(":")
    small = Namespace(**{**vars(opt), "device": "cpu", "precision": "fp32", "step": "eager", "kernels": "torch",
                         "trial": ["1"]})
    model_t = any_model[name_t](num_classes=data.num_classes)
    bench = Bench(small, data, model_t, name_s, method, torch.device("cpu"),
                  min(opt.batch_size, len(data.train) // 2))  # how many launches a norm takes is up to its size
    if opt.norms == "triton":
        norms_by_triton(bench.fits[0].engine.model)
    engine, steps = bench.fits[0].engine, max(1, IMAGES_AHEAD["cuda"] // opt.batch_size)
    teacher = engine.teacher
    teacher.model = fused_for_cuda(teacher.model, teacher.features, teacher.features and teacher.preact)
    batches = bench.loader.epoch(1, 1)
    if not teacher.features and engine.needs_teacher:
        batches = with_teacher(teacher, steps, lambda first: bench.loader.epoch(1, 1, start=first), 0)
    first, second, share = next(batches), next(batches), ""
    engine.step(first)
    engine.student = norms_counted_at_once(engine.model)(engine.student)  # as graphs.py does
    with OperationCount() as step:
        engine.step(second)
    if isinstance(second, TeacherBatch):
        with OperationCount() as of_teacher:
            teacher(second.images)
        a_step = step.total + of_teacher.total / steps
        share = f", and {of_teacher.total} of the teacher for {steps} steps at once: {a_step:.0f} a step"
    print(f"ops   {pair:<24}{method:<12}{step.total} operations in a step{share}")
    hidden = ", ".join(f"{n} {what}" for what, n in step.hidden.items())
    print(f"      by the rule of bench/operations.py {step.nodes} nodes of a graph, {hidden} among them; the longest "
          f"chain of dependent operations has {step.path}", flush=True)


def profile(opt, data, device) -> None:
    """The kernels in which our step spends its time, by torch.profiler."""
    name_t, name_s = opt.pairs.split(",")[0].split(":")
    method = opt.methods.split(",")[0]
    bench = Bench(opt, data, any_model[name_t](num_classes=data.num_classes), name_s, method, device, opt.batch_size)
    batches = bench.batches()
    for _ in range(10):
        bench.step(next(batches))
    with torch.profiler.profile() as prof:
        for _ in range(10):
            bench.step(next(batches))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    files.save_text(prof.key_averages().table(sort_by=by, row_limit=25), Path(opt.profile))
    print(f"==> profile of 10 steps in {opt.profile}")


def main(argv=None):
    opt = parse(argv)
    flags = options_for(opt, "resnet8", "kd", opt.batch_size)
    device = resolve_device(flags)
    opt.device, opt.precision, opt.step, opt.kernels = flags.device, flags.precision, flags.step, flags.kernels
    if opt.num_workers is None:
        opt.num_workers = 2 if device.type == "cpu" else min(8, os.cpu_count() or 1)
    print(f"==> {describe(device)}, torch {torch.__version__}, precision {opt.precision}, step {opt.step}, "
          f"kernels {opt.kernels}")
    data, table = load(opt), RateTable(opt.json)
    what = opt.what.split(",")
    if "data" in what:
        measure_data(opt, data, device, table)
    for pair in opt.pairs.split(","):
        for method in opt.methods.split(","):
            for name, measure in (("step", measure_step), ("train", measure_train)):
                if name in what:
                    measure(opt, data, device, table, pair, method)
            if "feed" in what:
                rates = measure_feed(opt, data, device, pair, method)
                table.keep({"what": "feed", "pair": pair, "method": method, "device": describe(device),
                            "batch": opt.batch_size, "num_workers": opt.num_workers, **rates})
            if "ops" in what:
                measure_operations(opt, data, pair, method)
    if opt.profile:
        profile(opt, data, device)


if __name__ == "__main__":
    sys.exit(guard(main))
