"""Questions of speed that only a device can answer, each a run of a minute or two with a printed answer.

    python -m scripts.bench.questions streams formats drops fork compile jobs      # on CUDA; these and no others

streams: a step of three seeds on streams of their own beside three steps of one. formats: channels_last or contiguous
for depthwise and grouped convolutions. drops: memory over ten learning-rate drops, each a new capture. fork: teacher
and student on two streams or one after the other. compile: the student compiled inside the graph. jobs: three processes
of one seed beside one process of three.
"""
from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

import dataset
from helper.argtypes import Parser, number, path
from helper.device import pick_device
from helper.errors import UserError, guard
from models import model_dict
from models.folding import folded

from .timing import Bench, timed

ROOT = Path(__file__).resolve().parents[2]
BATCH = 64


def main(argv=None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help=", ".join(ANSWERS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data_dir", type=path, default="data")
    parser.add_argument("--path_t", type=path, default=None, help="teacher's checkpoint, for jobs")
    parser.add_argument("--rounds", type=number(int, low=1, high=100), default=20, help="timed turns (default 20)")
    opt = parser.parse(argv)
    if unknown := [name for name in opt.questions if name not in ANSWERS]:
        raise UserError(f"{unknown[0]}: no question; questions: {', '.join(ANSWERS)}")
    device = pick_device(opt.device)
    for name in opt.questions:
        print(f"{name}: {ANSWERS[name](opt, device)}", flush=True)


def bench_of(opt: Namespace, device: torch.device, trials: list[str]) -> Bench:
    data = dataset.load("cifar100", opt.data_dir)
    flags = Namespace(mix="mixup", device=str(device), trial=trials, dataset="cifar100", data_dir=opt.data_dir,
                      precision=None, step=None, kernels=None, num_workers=None)
    teacher = model_dict["resnet56"](num_classes=data.num_classes)
    return Bench(flags, data, teacher, "resnet20", "mixstd", device, BATCH)


def streams(opt: Namespace, device: torch.device) -> str:
    seconds = []
    for trials in (["1"], ["1", "2", "3"]):
        bench = bench_of(opt, device, trials)
        seconds.append(timed(bench.step, bench.batches(), 20, opt.rounds, device))
    one, three = (1000 * s for s in seconds)
    return f"one seed {one:.2f} ms a step, three together {three:.2f} ms: {3 * one / three:.2f} x"


def formats(opt: Namespace, device: torch.device) -> str:
    told = []
    for name in ("ShuffleV1", "ShuffleV2", "MobileNetV2"):
        times = {}
        for label, layout in (("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)):
            net = model_dict[name](num_classes=100).to(device).to(memory_format=layout)
            images = torch.randn(BATCH, 3, 32, 32, device=device).to(memory_format=layout)
            times[label] = clocked(lambda net=net, images=images: net(images).sum().backward(), opt.rounds, device)
        told.append(f"{name} " + ", ".join(f"{label} {ms:.2f} ms" for label, ms in times.items()))
    return "; ".join(told)


def drops(opt: Namespace, device: torch.device) -> str:
    needs_cuda(device)
    bench = bench_of(opt, device, ["1"])
    batches, held = bench.batches(), []
    for _ in range(10):
        for _ in range(6):
            bench.step(next(batches))
        held.append(torch.cuda.memory_reserved(device) / 2**20)
        bench.opt.learning_rate *= 0.99  # the rate is part of a capture
    return "MB reserved after each: " + ", ".join(f"{mb:.0f}" for mb in held)


def fork(opt: Namespace, device: torch.device) -> str:
    needs_cuda(device)
    teacher, student, images = networks(device)
    side = torch.cuda.Stream(device)

    def in_line() -> None:
        with torch.no_grad():
            teacher(images)
        student(images).sum().backward()

    def forked() -> None:
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side), torch.no_grad():
            teacher(images)
        student(images).sum().backward()
        torch.cuda.current_stream(device).wait_stream(side)

    return ", ".join(f"{name} {clocked(captured(work), opt.rounds, device):.2f} ms"
                     for name, work in (("in line", in_line), ("forked", forked)))


def compile_inside(opt: Namespace, device: torch.device) -> str:
    needs_cuda(device)
    _, student, images = networks(device)
    compiled = torch.compile(student, dynamic=False)
    told = []
    for name, net in (("as it is", student), ("compiled", compiled)):
        replay = captured(lambda net=net: net(images).sum().backward())
        told.append(f"{name} {clocked(replay, opt.rounds, device):.2f} ms")
    return ", ".join(told)


def jobs(opt: Namespace, device: torch.device) -> str:
    if opt.path_t is None:
        raise UserError("jobs: give --path_t, a teacher's checkpoint")
    words = [sys.executable, str(ROOT / "train_student_mixstd.py"), "--path_t", opt.path_t, "--model_s", "resnet20",
             "--epochs", "5", "--lr_decay_epochs", "4", "--data_dir", opt.data_dir, "--device", str(device),
             "--save_dir", "save/questions", "--overwrite"]
    seconds = []
    for groups in (["1", "2", "3"], ["1,2,3"]):
        began = time.perf_counter()
        running = [subprocess.Popen([*words, "--trial", trials], stdout=subprocess.DEVNULL) for trials in groups]
        if any([process.wait() for process in running]):
            raise UserError("jobs: a run failed; what it says stands above")
        seconds.append(time.perf_counter() - began)
    return f"5 epochs of three seeds: three processes {seconds[0]:.0f} s, one process {seconds[1]:.0f} s"


ANSWERS: dict[str, Callable] = {"streams": streams, "formats": formats, "drops": drops, "fork": fork,
                                "compile": compile_inside, "jobs": jobs}


def needs_cuda(device: torch.device) -> None:
    if device.type != "cuda":
        raise UserError(f"--device {device}: this is a question about CUDA")


def networks(device: torch.device) -> tuple:
    teacher = folded(model_dict["resnet56"](num_classes=100).eval()).to(device)
    student = model_dict["resnet20"](num_classes=100).to(device).to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    return teacher, student, images


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """The replay of ``work`` as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def clocked(work: Callable[[], None], rounds: int, device: torch.device) -> float:
    """Median milliseconds."""
    def turn() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return 1000 * (time.perf_counter() - began)

    for _ in range(3):
        turn()
    return median(turn() for _ in range(rounds))


if __name__ == "__main__":
    sys.exit(guard(main))
