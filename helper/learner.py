"""One seed in training: weights, method, optimiser, sums, and all that a checkpoint must hold of them."""
from __future__ import annotations

import contextlib
import math
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from distiller_zoo import Distiller
from models import any_model, cpu_kernels
from models.synchronised import synchronised

from . import distributed
from .argtypes import seed_of
from .device import FORMAT, autocast
from .evaluate import which_hit
from .recipe import learning_rate_at

COUNTS = ("images", "loss", "top1", "top5", "mixed", "skipped")  # sums over an epoch; the loss terms follow


class Learner:
    """A student (or a teacher in the making), its method and its optimiser.

    model: on its device. method: see :class:`distiller_zoo.Distiller`. trial, seed: its name and its randomness.
    Progress is (stage, epoch, step): ``epoch`` epochs of the stage are complete, ``step`` steps of the next one done.
    """

    def __init__(self, opt: Namespace, trial: str, seed: int, model: nn.Module, method: Distiller):
        self.opt, self.trial, self.seed, self.model, self.method = opt, trial, seed, model, method
        self.device = next(model.parameters()).device
        self.compiled = torch.compile(model, dynamic=False) if opt.step == "compile" else model
        self.objective = Objective(self)
        self.full = distributed.own(opt.batch_size)  # images of all batches but an epoch's last
        self.whole = 0  # those of the batch at hand, in all processes
        self.terms = method.term_names()
        self.sums = torch.zeros(len(COUNTS) + len(self.terms), dtype=torch.float64, device=self.device)
        # for _count: what each image counts, and where in the sums the images, the loss and its terms are
        self.one = torch.ones((), dtype=torch.float64, device=self.device)
        self.places = torch.tensor([0, 1, *range(len(COUNTS), len(self.sums))], device=self.device)
        self.history: list[dict] = []
        self.best: dict[str, float] = {}
        self.optimizer: torch.optim.Optimizer
        self.enter("init" if method.two_stage and opt.init_epochs else "main")

    # Progress -----------------------------------------------------------------------------------------------------

    def enter(self, stage: str) -> None:
        self.stage, self.epoch, self.step = stage, 0, 0
        parameters = self.method.enter(stage, self.model)
        self.optimizer = torch.optim.SGD(parameters, lr=self.learning_rate(), momentum=self.opt.momentum,
                                         weight_decay=self.opt.weight_decay, fused=True)
        self.parallel: nn.Module | None = None  # the objective in several processes; made by the stage's first step

    def learning_rate(self) -> float:
        """Rate of the epoch in progress."""
        if self.stage == "init":
            return self.method.init_learning_rate(self.opt)
        return learning_rate_at(self.epoch + 1, self.opt)

    def begin_epoch(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        if self.stage == "main":
            self.method.begin_epoch(self.epoch + 1)
        if self.step == 0:
            self.sums.zero_()

    def end_epoch(self, row: dict) -> None:
        """Count the epoch; ``row`` is its line in log.csv."""
        self.history.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        if self.stage == "init" and self.epoch >= self.opt.init_epochs:
            self.enter("main")

    @property
    def done(self) -> bool:
        return self.stage == "main" and self.epoch >= self.opt.epochs

    @property
    def progress(self) -> tuple[int, int, int]:
        return (int(self.stage == "main"), self.epoch, self.step)

    # The step -----------------------------------------------------------------------------------------------------

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        net = self.compiled if len(images) == self.full else self.model
        with counted_at_once(self.model) if self.opt.step == "graph" else contextlib.nullcontext():
            if self.method.needs_features:
                return net(images, is_feat=True, preact=self.method.preact)
            return [], net(images)

    def update(self, batch, answer: Callable[[], tuple | None]) -> None:
        """One step on one batch. answer: gives the teacher's (features, logits), called after the student's forward
        pass. Nothing here waits for the device, unless ``--on_nan skip`` has to look."""
        careful = self.opt.on_nan == "skip"
        buffers = [*self.model.buffers(), *self.method.buffers()] if careful else []
        before = [b.clone() for b in buffers]
        with autocast(self.opt.precision, self.device):
            loss, logits, terms = (self._parallel() if distributed.size() > 1 else self.objective)(batch, answer)
        self.optimizer.zero_grad(set_to_none=True)
        self._minimised(loss, len(batch.labels)).backward()
        if careful and not self._finite(loss):
            for buffer, old in zip(buffers, before, strict=True):
                buffer.copy_(old)
            self.sums[COUNTS.index("skipped")] += distributed.first()  # once in all processes
            return
        self.optimizer.step()
        self._count(batch, logits, loss.detach(), terms)

    def _parallel(self) -> nn.Module:
        if self.parallel is None:
            method, trained = self.method, [p for group in self.optimizer.param_groups for p in group["params"]]
            idle = not (method.gamma or method.alpha) or (not method.beta and any(True for _ in method.parameters()))
            self.parallel = distributed.wrapped(self.objective, trained, self.stage == "main" and not idle)
        return self.parallel

    def _minimised(self, loss: Tensor, n: int) -> Tensor:
        """The loss of a share of ``n`` images as it counts in the mean over processes; that of a method which saw the
        whole batch is whole already."""
        if distributed.size() == 1 or self.method.compares_images:
            return loss
        return loss * distributed.weight(n, self.whole)

    def _finite(self, loss: Tensor) -> bool:
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        return distributed.all_true(bool(torch.isfinite(loss) & torch.isfinite(get_total_norm(gradients))))

    def sound(self) -> bool:
        """Whether every number of the student and of its method is finite."""
        state = [*self.model.state_dict().values(), *self.method.state_dict().values()]
        largest = get_total_norm([value for value in state if value.is_floating_point() and value.numel()], math.inf)
        return bool(largest.isfinite())

    @torch.no_grad()
    def _count(self, batch, logits: Tensor, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Add to the epoch's sums: the images, and what they weigh of the losses; then the counts."""
        losses = torch.stack([self.one, loss, *(terms[name] for name in self.terms if name in terms)])
        self.sums.index_add_(0, self.places[:len(losses)], losses, alpha=len(batch.labels))
        self.sums[2:5] += torch.stack([*which_hit(logits, batch.labels), batch.mixed], 1).sum(0)

    def averages(self) -> dict[str, float]:
        """The epoch so far, read from the device: images, train_loss and its terms, train_acc (%), mixed fraction."""
        counts = dict(zip((*COUNTS, *self.terms), distributed.total(self.sums).tolist(), strict=True))
        images = counts["images"] or float("nan")
        row = {"train_loss": counts["loss"] / images}
        if self.stage == "main":
            row |= {f"train_loss_{name}": counts[name] / images for name in self.terms}
            row |= {"train_acc": 100 * counts["top1"] / images, "train_acc_top5": 100 * counts["top5"] / images}
        row["mixed_fraction"] = counts["mixed"] / images
        if self.opt.on_nan == "skip":
            row["skipped_steps"] = int(counts["skipped"])
        return row

    # Checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        state = {"stage": self.stage, "epoch": self.epoch, "step": self.step, "sums": self.sums.cpu(),
                 "history": self.history, "best": self.best, "model": contiguous(self.model),
                 "method": contiguous(self.method), "optimizer": self.optimizer.state_dict(),
                 "rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["rng_cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a :meth:`state_dict`; torch's errors for shapes that don't fit pass through."""
        self.enter(state["stage"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.history, self.best = state["history"], state["best"]
        self.sums.copy_(state["sums"])
        self.model.load_state_dict(state["model"])
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, slots in self.optimizer.state.items():
            for name, value in slots.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # fused SGD walks the memory, so a buffer must lie as its parameter does
                    slots[name] = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value)
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "rng_cuda" in state:
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)


class Objective(nn.Module):
    """What a step minimises: from a batch and what gives the teacher's answer to (loss, logits, loss terms), of which
    only the loss has a gradient. Student and method as one module, which is what DistributedDataParallel wraps."""

    def __init__(self, learner: Learner):
        super().__init__()
        self.model, self.method, self.learner = learner.model, learner.method, learner

    def forward(self, batch, answer) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        out_s, out_t = self.learner.forward(batch.images), answer()
        logits, terms = out_s[1].detach(), {}
        if distributed.size() > 1 and self.method.compares_images:
            whole = self.learner.whole
            out_s, out_t = distributed.gathered(out_s, whole), distributed.gathered(out_t, whole)
            batch = distributed.gathered_batch(batch, whole)
        if self.learner.stage == "init":
            loss = self.method.init_loss(out_s, out_t, batch)
        else:
            terms = self.method(out_s, out_t, batch)
            loss = sum(terms.values())
        return loss, logits, {name: term.detach() for name, term in terms.items()}


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
            model: nn.Module = any_model[name](num_classes=num_classes)
            criterion = method(seed)
        model = model.to(device).to(memory_format=FORMAT)
        if opt.kernels == "native":
            model = cpu_kernels.accelerate(model)
        criterion = criterion.to(device).to(memory_format=FORMAT)  # connectors as the features they read
        if distributed.size() > 1 and opt.sync_bn:
            model, criterion = synchronised(model), synchronised(criterion)
        learners.append(Learner(opt, trial, seed, model, criterion))
    return learners


@contextlib.contextmanager
def counted_at_once(model: nn.Module) -> Iterator[None]:
    """Within it the batch norms of ``model`` leave their ``num_batches_tracked`` alone; at its end all are counted up,
    in one operation in place of one each. Only for norms with a momentum: without one they need the count."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training and m.momentum is not None]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm in norms:
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, count in zip(norms, counts, strict=True):
            norm.num_batches_tracked = count
    if counts:
        torch._foreach_add_(counts, 1)


def contiguous(module: nn.Module) -> dict[str, Tensor]:
    """A state_dict on the CPU in the default memory format, as any loader expects it.

    From another device all numbers of a type leave in one copy: one wait for the device in place of one a tensor.
    """
    state = {name: value.detach() for name, value in module.state_dict().items()}
    if all(value.device.type == "cpu" for value in state.values()):
        return {name: value.contiguous() for name, value in state.items()}
    return together(state)


def together(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``state`` on the CPU, in memory of their own; those of one type travel as one flat copy."""
    copies = dict.fromkeys(state)  # keeps the order
    for dtype in {value.dtype for value in state.values()}:
        names = [name for name, value in state.items() if value.dtype == dtype]
        flat = torch.cat([state[name].reshape(-1) for name in names]).cpu()
        for name, part in zip(names, flat.split([state[name].numel() for name in names]), strict=True):
            copies[name] = part.view(state[name].shape).clone()  # a view would be saved with all the others' memory
    return copies
