"""One training in several processes, as torchrun starts them: torch.distributed and DistributedDataParallel.

Every process draws the same plan of an epoch and trains on its share of each batch (see dataset.EpochPlan.share); the
gradients are summed to those of the whole batch, so that the weights stay equal and the run is that of one process with
the same ``--batch_size``, to rounding. What differs: a batch norm normalises its process's share of a batch, unless
``--sync_bn``, and the running statistics that are kept are those of rank 0, as DistributedDataParallel does.

Rank 0 alone writes files and prints; an error is reported by one process. Without torchrun nothing here has an effect.
"""
from __future__ import annotations

import atexit
import io
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from inspect import signature
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .errors import UserError, guard, program

if TYPE_CHECKING:
    from .interrupts import Interrupts

T = TypeVar("T")
PATIENCE = timedelta(seconds=10)  # seconds that another process waits for rank 0 to report an error first
# DistributedDataParallel's argument that keeps it from sending all buffers in every step; torch 2.14 renamed it
OWN_BUFFERS = next(name for name in ("forward_sync_buffers", "broadcast_buffers")
                   if name in signature(DistributedDataParallel).parameters)
BETWEEN_VOTES = 0.5  # seconds, about: how long a signal may wait for the processes to agree on a step to stop after


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_rank0() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def share() -> tuple[int, int]:
    """(rank, size), as the loaders take it."""
    return rank(), world_size()


# From the start to the end ------------------------------------------------------------------------------------------


def launch(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """:func:`helper.errors.guard`; under torchrun in each of its processes, which then form a group.

    Only rank 0's output is shown. An error that all processes find is reported by rank 0, one that it does not find by
    a process that does; torchrun ends the others.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return guard(main, argv)
    store, number, processes = next(dist.rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=dist.PrefixStore("group", store), rank=number, world_size=processes)
    _await_all(store, processes)
    with _captured_output(number) as output:
        try:
            status = _guarded(main, argv)
        finally:  # at once: torchrun kills this process as soon as another has ended with an error
            atexit._run_exitfuncs()  # ends the data workers and removes temporary files
    if status == 0:
        dist.destroy_process_group()
    elif number == 0:
        store.set("reported", "1")
    elif not _reported(store):
        print(output.getvalue(), end="", file=sys.stderr, flush=True)
    _leave(status)


def _await_all(store: dist.Store, processes: int) -> None:
    """Wait until every process is connected: one that finds an error at once would leave while others still connect to
    it, which they would report as an error of their own."""
    if store.add("connected", 1) == processes:
        store.set("all connected", "1")
    store.wait(["all connected"])


def _leave(status: int) -> NoReturn:
    """End this process without Python's clean-up, in which gloo's threads, which outlive a DistributedDataParallel, may
    still free tensors: that aborts the process now and then (github.com/pytorch/pytorch/pull/179291)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _guarded(main: Callable, argv: Sequence[str] | None) -> int:
    try:
        return guard(main, argv)
    except SystemExit as leave:  # argparse's
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "by peer" not in str(error):
            raise
        print(f"{program()}: error: another process of this run has ended; what was saved before is kept, continue "
              "with --resume auto", file=sys.stderr, flush=True)
        return 1


@contextmanager
def _captured_output(number: int) -> Iterator[io.StringIO]:
    """Context in which only rank 0 prints; gives what the others wrote to stderr."""
    output, streams = io.StringIO(), (sys.stdout, sys.stderr)
    with open(os.devnull, "w") as nowhere:
        if number:
            sys.stdout, sys.stderr = nowhere, output
        try:
            yield output
        finally:
            sys.stdout, sys.stderr = streams


def _reported(store: dist.Store) -> bool:
    try:
        store.wait(["reported"], PATIENCE)
    except RuntimeError:  # a timeout, or the store has closed
        return False
    return True


def device_of(name: str) -> str:
    """``--device`` in this process: of several on CUDA each takes its own.

    Raises UserError where there are fewer CUDA devices than processes, or where one was named.
    """
    if world_size() == 1 or name == "cpu" or not torch.cuda.is_available():
        return name
    if name not in ("auto", "cuda"):
        raise UserError(f"--device {name}: every process of torchrun takes its own; give cuda, or leave it out")
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise UserError(f"torchrun --nproc_per_node: more processes than the {torch.cuda.device_count()} CUDA devices "
                        "here; start fewer, or give --device cpu")
    return f"cuda:{local}"


def check_flags(opt: Namespace) -> None:
    """Raises UserError for flags that several processes don't support; ``opt.device`` is resolved and
    loses its number, which differs from process to process."""
    if world_size() == 1:
        return
    if opt.sync_bn and opt.device == "cpu":
        raise UserError("--sync_bn: torch synchronises batch norms on CUDA only; leave it out with --device cpu")
    opt.device = opt.device.partition(":")[0]


def check_trials(trials: Sequence[str]) -> None:
    """Raises UserError for several trials in several processes."""
    if world_size() > 1 and len(trials) > 1:
        raise UserError(f"--trial {','.join(trials)}: under torchrun one trial a run; start them one after another")


def check_shares(opt: Namespace, n: int, min_batch: int) -> None:
    """Every process needs ``min_batch`` samples of each batch, the short last one of ``n`` images too; then print
    their shares. Raises UserError."""
    if world_size() == 1:
        return
    last = min(n % opt.batch_size or opt.batch_size, n)
    for batch, what in ((min(opt.batch_size, n), "batches"), (last, "the last batch")):
        if batch // world_size() < min_batch:
            raise UserError(f"--batch_size {opt.batch_size}: {what} of {batch} images can't be split over "
                            f"{world_size()} processes, which need {min_batch} each; choose another size or fewer "
                            "processes")
    shares = sorted({opt.batch_size // world_size(), -(-opt.batch_size // world_size())})
    print(f"==> {world_size()} processes: batches of {opt.batch_size}, {' or '.join(map(str, shares))} in each; "
          f"learning rate {opt.learning_rate:g} as for one process, it is not rescaled", flush=True)


def described() -> str:
    """', 2 processes' after the hardware's name, in args.json; '' for one."""
    return f", {world_size()} processes" if world_size() > 1 else ""


# Communication ------------------------------------------------------------------------------------------------------


def from_rank0(make: Callable[[], T]) -> T:
    """What ``make()`` returns in rank 0, in all processes. An error in it ends all."""
    if world_size() == 1:
        return make()
    box: list[Any] = [make() if is_rank0() else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def send_state(fit) -> None:
    """Give the other processes the state of rank 0's run."""
    def state() -> bytes:
        buffer = io.BytesIO()
        torch.save(fit.state_dict(), buffer)
        return buffer.getvalue()
    stored = from_rank0(state)
    if not is_rank0():
        fit.load_state_dict(torch.load(io.BytesIO(stored), map_location="cpu", weights_only=True))


def local_rank0_first(make: Callable[[], T]) -> T:
    """``make()`` in all processes, on each machine in its first process before the others: for files to be fetched."""
    if world_size() == 1:
        return make()
    leads = os.environ["LOCAL_RANK"] == "0"
    made = [make()] if leads else []
    total(torch.zeros(1))  # the others wait here
    return made[0] if leads else make()


def total(sums: Tensor) -> Tensor:
    """The sum over the processes, on the CPU; waits for the device."""
    sums = sums.cpu()
    if world_size() > 1:
        sums = sums.clone()
        dist.all_reduce(sums)
    return sums


def all_true(flag: bool) -> bool:
    """Whether ``flag`` is true in every process."""
    return flag if world_size() == 1 else total(torch.tensor([float(flag)])).item() == world_size()


def collect(sums: Tensor, *modules: nn.Module) -> None:
    """Before anything is evaluated or saved: the sums of all come to rank 0, its buffers (running statistics,
    memories) to all."""
    if world_size() == 1:
        return
    whole = total(sums)
    sums.copy_(whole if is_rank0() else torch.zeros_like(whole))
    for module in modules:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


class Vote:
    """Whether a signal stops the run: all processes after the same step, on which they agree about every half second.

    interrupts: of this process. A vote is one sum of two numbers on the CPU.
    """

    def __init__(self, interrupts: Interrupts):
        self.interrupts, self.steps, self.left, self.since = interrupts, 1, 1, time.perf_counter()

    def __call__(self) -> int:
        """After every step: the signal to stop for, or 0."""
        if world_size() == 1:
            return self.interrupts.signum
        self.left -= 1
        if self.left:
            return 0
        seconds = (time.perf_counter() - self.since) / self.steps
        found = torch.tensor([float(self.interrupts.signum), seconds], dtype=torch.float64)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        signum, seconds = found.tolist()  # the same in all, and so is the next vote's step
        self.steps = self.left = min(max(1, int(BETWEEN_VOTES / seconds)), 1000)
        self.since = time.perf_counter()
        return int(signum)


# The step -----------------------------------------------------------------------------------------------------------


class Joint(nn.Module):
    """Student and method as one module, which is what DistributedDataParallel wraps; ``losses`` uses both."""

    def __init__(self, model: nn.Module, method: nn.Module, losses: Callable):
        super().__init__()
        self.model, self.method, self.losses = model, method, losses

    def forward(self, batch, out_t) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        return self.losses(batch, out_t)


def parallel(base: type) -> type:
    """``base``, an engine's class, for one of several processes: gradients of the whole batch from its shares."""

    class ParallelEngine(base):
        def enter(self, stage: str) -> None:
            super().enter(stage)
            self.wrapped: nn.Module | None = None  # made by the stage's first step

        def wrap(self) -> nn.Module:
            """With the gradients of what is trained, and of nothing else, averaged over the processes. Looking for
            parameters that are not in a loss costs a walk of the graph, so only where there may be some."""
            method = self.method
            unused = not (method.gamma or method.alpha) or (not method.beta and any(True for _ in method.parameters()))
            trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
            joint = Joint(self.model, method, super().losses)
            for parameter in joint.parameters():
                parameter.requires_grad_(id(parameter) in trained)
            own_buffers: dict[str, Any] = {OWN_BUFFERS: False}
            return DistributedDataParallel(joint, find_unused_parameters=self.stage == "init" or unused, **own_buffers)

        def losses(self, batch, out_t):
            """The loss as this process's part of the mean over processes: shares need not be equal; the loss of a
            method that compares images is that of the whole batch already."""
            self.wrapped = self.wrapped or self.wrap()
            loss, logits, terms = self.wrapped(batch, out_t)
            self.weight = 1.0 if self.method.compares_images else len(batch.labels) * world_size() / batch.total
            return loss, logits, terms

        def compute_loss(self, out_s, out_t, batch):
            if self.method.compares_images:
                out_s, out_t = gathered(out_s, batch.total), gathered(out_t, batch.total)
                batch = gathered_batch(batch, batch.total)
            return super().compute_loss(out_s, out_t, batch)

        def backward(self, loss: Tensor) -> None:
            super().backward(loss * self.weight)

        def load_state_dict(self, state: dict[str, Any]) -> None:
            super().load_state_dict(state)
            if not is_rank0():
                self.sums.zero_()  # rank 0 has those of all

    return ParallelEngine


class _Gathered(torch.autograd.Function):
    """Rows of all processes in their order. Every process computes the same of them, so the gradient of its own rows is
    whole; times the number of processes it survives the average over them."""

    @staticmethod
    def forward(ctx, rows: Tensor, whole: int) -> Tensor:
        ends = [whole * r // world_size() for r in range(world_size() + 1)]
        ctx.own = slice(ends[rank()], ends[rank() + 1])
        counts = [end - begin for begin, end in zip(ends[:-1], ends[1:], strict=True)]
        padded = rows.new_zeros(max(counts), *rows.shape[1:])  # gloo gathers equal sizes only
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient[ctx.own] * world_size(), None


class _GatheredFeatures(Sequence):
    """Features of the whole batch; those that are not read are not sent."""

    def __init__(self, features: Sequence[Tensor], whole: int):
        self.features, self.whole = features, whole

    def __len__(self) -> int:
        return len(self.features)

    @overload
    def __getitem__(self, place: int) -> Tensor: ...

    @overload
    def __getitem__(self, place: slice) -> list[Tensor]: ...

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [_Gathered.apply(feature, self.whole) for feature in self.features[place]]
        return _Gathered.apply(self.features[place], self.whole)


def gathered(out: tuple | None, whole: int) -> tuple | None:
    """A network's (features, logits) for the ``whole`` batch, from every process's for its share."""
    return out and (_GatheredFeatures(out[0], whole), _Gathered.apply(out[1], whole))


def gathered_batch(batch: Any, whole: int) -> Any:
    """The batch with the targets, labels and places of the ``whole`` of it; its images stay a share."""
    columns = {name: _Gathered.apply(getattr(batch, name), whole) for name in ("targets", "labels", "index")}
    return replace(batch, **columns)
