"""Several runs in one process: a loop over their engines.

Every run has its own engine, and on CUDA its own stream, graphs and memory pool; one thread lets them take a step each
in turn. If a run ends or fails, the others continue and the next one starts. Runs that see the same batches (the same
loader, seed, epoch and stage) cut and mix them once, and those with the same teacher as well compute its output once.

On the CPU the weights of every run are bit for bit those of the run alone.
"""
from __future__ import annotations

import contextlib
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from tqdm import tqdm

from dataset import DataError
from distiller_zoo import DistillError

from . import ddp
from .device import set_precision
from .errors import Interrupted, UserError, line_of
from .fit import PHASE, Fit, print_line
from .graphs import tensors_of
from .interrupts import Interrupts
from .teacher import with_teacher

FAULTS = (UserError, DataError, DistillError, OSError, torch.cuda.OutOfMemoryError)


@dataclass
class Outcome:
    """What became of a run. status: 'done', 'finished' (before, found by --resume), 'failed'; folder: where its results
    are; problem: the line of an error; last, best: top-1 of the last epoch and of the best, per cent."""

    status: str
    folder: Any = None
    problem: str = ""
    last: float | None = None
    best: float | None = None


class Cache:
    """What several runs use and none changes (data, loaders, teachers), made once per key.

    at_once: how many runs there may be side by side. folders: of the runs that train now; the lock of a folder keeps
    other processes out, not another run of this one.
    """

    def __init__(self, at_once: int):
        self.at_once = at_once
        self.folders: set[Any] = set()
        self.made: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


class Lane:
    """A run that is training: its steps, and on CUDA its stream."""

    def __init__(self, place: int, fit: Fit):
        self.place, self.fit, self.steps = place, fit, fit.train()
        self.stream = None
        if fit.engine.device.type == "cuda":
            self.stream = torch.cuda.Stream(fit.engine.device)
            self.stream.wait_stream(torch.cuda.current_stream(fit.engine.device))

    def context(self):
        """For the run's turn: its stream, and torch's switches for TF32, which all runs of a process share."""
        set_precision(self.fit.opt.precision, self.fit.engine.device)
        return torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()

    def step(self) -> bool:
        """One step; False where the run is over."""
        with self.context():
            return next(self.steps, self) is not self

    def close(self) -> None:
        """The run is over; what is queued for it is done before its memory is free for the next run's streams."""
        self.steps.close()
        if self.stream:
            self.stream.synchronize()


class Pace:
    """How many runs train side by side where no number is given. On CUDA doubled for as long as that raises the steps
    per second of all together by a tenth, and the free memory takes as many again.

    device: as ``--device`` names it. Rates are measured over 1.5 x :attr:`WINDOW` steps per run. If more runs
    didn't raise the rate, those that have started still finish.

    On the CPU two: resnet20 > resnet8 on digits took 18.1 s of CPU time where it took 18.8 one after another, and 16.6
    in place of 17.8 where the two share their seed, so their batches and the teacher's outputs. More only take memory.
    """

    GAIN, WINDOW = 1.1, 40
    MOST = {"cpu": 2, "cuda": 16}

    def __init__(self, device: str = "auto"):
        cuda = device != "cpu" and torch.cuda.is_available()
        self.most = self.MOST["cuda" if cuda else "cpu"]
        self.at_once, self.rate, self.settled = 1 if cuda else 2, 0.0, not cuda
        self.rounds, self.since = 0, 0.0

    def allows(self, lanes: Sequence[Lane], waiting: int) -> bool:
        """Whether another run may start beside ``lanes``; called before every round of steps."""
        if len(lanes) < self.at_once:
            self.rounds = 0
            return True
        if self.settled or not waiting:
            return False
        self.rounds += 1
        device = lanes[0].fit.engine.device
        if self.rounds == self.WINDOW // 2:  # without what is compiled, captured or allocated at first
            self.since = time_on(device)
        if self.rounds < 2 * self.WINDOW:
            return False
        rate = 1.5 * self.WINDOW * len(lanes) / (time_on(device) - self.since)
        print_line(f"==> --at_once auto: {rate:.1f} steps/s with {self.at_once}")
        if rate < self.GAIN * self.rate:
            self.at_once, self.settled = self.at_once // 2, True
        elif self.at_once >= self.MOST[device.type] or not has_room(device):
            self.settled = True
        else:
            self.rate, self.rounds, self.at_once = rate, 0, 2 * self.at_once
        return not self.settled


def time_on(device: torch.device) -> float:
    """Seconds, with all steps that are queued on the CUDA device done."""
    torch.cuda.synchronize(device)
    return time.monotonic()


def has_room(device: torch.device) -> bool:
    """Whether a CUDA device's free memory is at least 1.25 times the used memory."""
    free, total = torch.cuda.mem_get_info(device)
    return free > 1.25 * (total - free)


def train(prepare: Sequence[Callable[[Cache], Fit | Outcome]], at_once: int | Pace = 0,
          report: Callable[[int, Outcome], None] = lambda place, outcome: None,
          labels: Sequence[str] = ()) -> list[Outcome]:
    """Train runs, at most ``at_once`` (0: all; a Pace: as many as raise the rate) of them side by side; returns
    their outcomes in order.

    prepare: per run a function that makes it ready, given the cache of what runs share; an Outcome where --resume finds
    it finished. report: called with a run's place in ``prepare`` as soon as it has its outcome. labels: what the
    lines that the runs print begin with.

    Raises Interrupted after a signal, with every run saved. A failing run raises nothing: see its outcome.
    """
    most = at_once.most if isinstance(at_once, Pace) else at_once or len(prepare)
    waiting, lanes, cache = deque(enumerate(prepare)), list[Lane](), Cache(most)

    def room() -> bool:
        return at_once.allows(lanes, len(waiting)) if isinstance(at_once, Pace) else len(lanes) < most

    outcomes: dict[int, Outcome] = {}

    def leave(place: int, outcome: Outcome) -> None:
        outcomes[place] = outcome
        report(place, outcome)

    def begin(place: int, make: Callable[[Cache], Fit | Outcome]) -> None:
        try:
            with tqdm.external_write_mode():
                fit = make(cache)
        except FAULTS as error:
            return leave(place, Outcome("failed", problem=line_of(error)))
        if isinstance(fit, Outcome):
            return leave(place, fit)
        if most > 1:
            fit.shared = batches
        fit.label = labels[place] if labels else ""
        fit.line = min({*range(most)} - {lane.fit.line for lane in lanes})
        lanes.append(Lane(place, fit))

    def take_turns() -> None:
        for lane in list(lanes):
            if outcome := advance(lane, interrupts):
                lanes.remove(lane)
                lane.close()
                cache.folders.discard(lane.fit.run.folder)
                leave(lane.place, outcome)
                if outcome.status == "failed" and ddp.world_size() > 1:
                    continue  # the other processes may be within a step, and would not vote
            if signum := stopped():
                raise Interrupted(signum, stop(lanes, signum))

    with Interrupts() as interrupts:
        stopped = ddp.Vote(interrupts)
        while waiting or lanes:
            while waiting and room():
                begin(*waiting.popleft())
            take_turns()  # a function, so that no variable holds a run that is over while the next one begins
    return [outcomes[place] for place in range(len(prepare))]


def advance(lane: Lane, interrupts: Interrupts) -> Outcome | None:
    """A step of a run; its outcome where it is over."""
    fit = lane.fit
    try:
        if lane.step():
            return None
    except DataError as error:  # a data worker died, perhaps of the signal that this process got too
        if interrupts.signum and ddp.world_size() == 1:
            return None
        return Outcome("failed", fit.run.folder, str(fit.kept(error)))
    except FAULTS as error:
        return Outcome("failed", fit.run.folder, line_of(error))
    return Outcome("done", fit.run.folder, "", fit.history[-1]["test_acc"], fit.best["top1"])


def stop(lanes: Sequence[Lane], signum: int) -> str:
    """Save all; returns the line to end with."""
    places = []
    for lane in lanes:
        fit = lane.fit
        where = f"{fit.label and fit.label + ', '}{fit.place().lower()}, step {fit.step} of {fit.loader.steps}"
        with lane.context():
            places.append(f"{where}; {fit.save_midway()}")
    if not places:  # it came while the last one was evaluated
        places = ["the end of a run; saved, continue with --resume auto"]
    return f"stopped by signal {signum} at " + "; ".join(places)


def train_trials(opt: Namespace, prepare: Callable[[Namespace, Cache], Fit | Outcome]) -> None:
    """All ``--trial``s of one command, side by side: prints where their results are, with mean and deviation.

    Nothing is trained, and no folder made, unless all can begin. Raises UserError at the end for those that failed.
    """
    ddp.check_trials(opt.trial)
    cache, fits = Cache(len(opt.trial)), []
    try:
        for trial in opt.trial:
            fits.append(prepare(Namespace(**{**vars(opt), "trial": [trial]}), cache))
    except BaseException:
        for fit in fits:
            if isinstance(fit, Fit):
                fit.run.undo()
        raise
    if len(fits) == 1 and isinstance(fits[0], Outcome):
        return

    def report(place: int, outcome: Outcome) -> None:
        if outcome.problem and len(fits) > 1:
            print(f"==> trial {opt.trial[place]} has ended: {outcome.problem}", flush=True)
    outcomes = train([partial(lambda fit, _: fit, fit) for fit in fits], report=report,
                     labels=[f"trial {trial}" for trial in opt.trial] if len(fits) > 1 else ())
    if problems := [outcome.problem for outcome in outcomes if outcome.problem]:
        raise UserError("; ".join(problems))
    for trial, outcome in zip(opt.trial, outcomes, strict=True):
        print(f"trial {trial}: last accuracy {outcome.last:.2f}, best accuracy {outcome.best:.2f}  {outcome.folder}")
    if len(outcomes) > 1:
        last = torch.tensor([outcome.last for outcome in outcomes], dtype=torch.float64)
        print(f"last accuracy over {len(last)} trials: mean {last.mean():.2f}, standard deviation {last.std():.2f}")


# What runs share ----------------------------------------------------------------------------------------------------


class SharedEpoch:
    """An epoch's batches, made by whichever run comes first and kept for those that follow within ``window`` steps."""

    def __init__(self, batches: Iterator, start: int, window: int):
        self.batches, self.next_step, self.kept = batches, start, deque[tuple](maxlen=window)

    def reaches(self, step: int) -> bool:
        return self.next_step - len(self.kept) <= step <= self.next_step

    def at(self, step: int) -> Any:
        """The batch of a step, or None after the last. On CUDA the stream that reads it waits for the one that made it,
        whose memory is held until it was read."""
        if step == self.next_step:
            if self.kept and self.kept[-1][1] is not None:  # the next may be of a chunk that another stream has cut
                torch.cuda.current_stream().wait_event(self.kept[-1][1])
            batch = next(self.batches, None)
            event = None
            if batch is not None and on_streams(batch.images):
                event = torch.cuda.current_stream().record_event()
            self.kept.append((batch, event))
            self.next_step += 1
        batch, event = self.kept[step - self.next_step]
        if event is not None:
            stream = torch.cuda.current_stream()
            stream.wait_event(event)
            for tensor in tensors_of(batch):
                tensor.record_stream(stream)
        return batch


def on_streams(tensor: torch.Tensor) -> bool:
    """Whether it is on CUDA, where operations of different streams have no order of their own."""
    return tensor.is_cuda


EPOCHS: WeakValueDictionary[Hashable, SharedEpoch] = WeakValueDictionary()  # those that a run reads now


def follow(key: Hashable, make: Callable[[int], Iterator], start: int, window: int) -> Iterator:
    """An epoch's batches from step ``start`` on, shared with other runs under ``key`` that are within ``window``
    steps of it. A run further away makes its own; no run waits."""
    shared, step = None, start
    while True:
        if shared is None or not shared.reaches(step):
            shared = EPOCHS.get(key)
        if shared is None or not shared.reaches(step):
            shared = EPOCHS[key] = SharedEpoch(make(step), step, window)
        batch = shared.at(step)
        if batch is None:
            return
        yield batch
        step += 1


def batches(fit: Fit) -> Iterator:
    """A run's batches from its step on; with the teacher's outputs where its method reads them."""
    loader, teacher, ahead = fit.loader, fit.engine.teacher, fit.ahead  # what is shared must not hold the run
    seed, epoch, phase = fit.seed, fit.epoch + 1, PHASE[fit.stage]
    key, window = (id(loader), seed, epoch, phase), max(ahead, 4)

    def cut(first: int) -> Iterator:
        return follow(key, lambda step: loader.epoch(seed, epoch, phase, start=step), first, window)

    if not fit.engine.needs_teacher:
        return cut(fit.step)
    return follow((key, id(teacher), ahead), lambda first: with_teacher(teacher, ahead, cut, first), fit.step, window)
