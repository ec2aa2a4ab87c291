"""Epochs: batches through the trainer, evaluation, record, checkpoints, and what can go wrong between them."""
from __future__ import annotations

import copy
import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

import dataset
from dataset import DataError

from . import distributed
from .device import FORMAT, autocast
from .errors import Interrupted, UserError
from .evaluate import Accuracy, evaluate
from .interrupts import Interrupts
from .learner import Learner, contiguous
from .record import Run
from .resume import Claim
from .rundir import NEWEST
from .step import Trainer

PHASE = {"main": 0, "init": 1}  # the two stages draw different plans


class Loop:
    """Trains learners, each with its run, until all are done.

    loader: see dataset.DeviceLoader. test: callable that returns fresh (images, labels) batches.
    about: what every checkpoint says beside weights (arch, num_classes, dataset). configs: per trial, for resume.
    measured: what summary.json says beside the student's own figures.
    """

    def __init__(self, opt: Namespace, trainer: Trainer, learners: Sequence[Learner], runs: Sequence[Run],
                 configs: Sequence[dict], loader, test: Callable, about: dict, measured: dict | None = None):
        self.opt, self.trainer, self.learners, self.loader, self.test = opt, trainer, learners, loader, test
        self.runs = {learner.trial: run for learner, run in zip(learners, runs, strict=True)}
        self.configs = {learner.trial: config for learner, config in zip(learners, configs, strict=True)}
        self.about, self.measured = about, measured or {}
        self.unsaved: dict = {}  # path -> checkpoint
        self.saved_at = time.monotonic()
        self.after_epoch: Callable[[], None] = lambda: None  # the benchmark's clock

    def fit(self) -> None:
        """Epoch by epoch; learners that are behind (a resumed run of several seeds) catch up first."""
        with Interrupts() as interrupts:
            vote = distributed.Vote(interrupts)
            while waiting := [learner for learner in self.learners if not learner.done]:
                front = min(learner.progress for learner in waiting)
                self._epoch([learner for learner in waiting if learner.progress == front], vote)
                self.after_epoch()
            for learner in self.learners:
                if not self.runs[learner.trial].finished:
                    self._finish(learner)

    def _epoch(self, group: list[Learner], vote: distributed.Vote) -> None:
        began, start = time.perf_counter(), group[0].step
        for learner in group:
            learner.begin_epoch()
        try:
            signum = self._steps(group, vote, began, start)
        except DataError as error:  # a data worker died, perhaps of the signal that this process got too
            signum = vote.interrupts.signum
            if not signum or distributed.size() > 1:
                raise self._kept(group, error) from None
        if signum:
            self._stop(group, signum)
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize(self.trainer.device)  # steps are still queued; the averages would wait for them too
        self._close(group, time.perf_counter() - began, (self.loader.steps - start) / self.loader.steps)

    def _steps(self, group: list[Learner], vote: distributed.Vote, began: float, start: int) -> int:
        """The epoch's steps after ``start``. Returns the signal that ended them early, or 0."""
        batches = [self.trainer.batches(self.loader, learner, PHASE[learner.stage], start) for learner in group]
        bar = self._bar(group[0], start)
        for step, row in enumerate(zip(*batches, strict=True), start + 1):
            for learner in group:
                learner.whole = self.loader.whole(step - 1)
            self._step(group, row)
            for learner in group:
                learner.step = step
            self._report(group, step, bar, began, start)
            if signum := vote():
                return signum
        if bar is not None:
            bar.close()
        return 0

    def _step(self, group: list[Learner], row: Sequence) -> None:
        try:
            self.trainer.step(group, row)
        except torch.cuda.OutOfMemoryError:
            more = f" with {len(group)} trials at once" if len(group) > 1 else ""
            raise UserError(f"CUDA ran out of memory at --batch_size {self.opt.batch_size}{more}; give a smaller one, "
                            "fewer trials, or --loader torch") from None

    # Between epochs -----------------------------------------------------------------------------------------------

    def _close(self, group: list[Learner], seconds: float, share: float) -> None:
        """Evaluate, print and save all; ``share``: the part of the epoch's steps that took the ``seconds``."""
        closed, problems = [], []
        for learner in group:
            try:
                self._close_epoch(learner, seconds, share, len(group))
                closed.append(learner)
            except UserError as problem:  # the others' epoch is kept first
                problems.append(str(problem))
            except DataError as error:  # a damaged image of the validation, which is done again from here
                raise self._kept(group, error) from None
        self._save(closed, now=bool(problems))
        if problems:
            raise UserError("; ".join(problems))

    def _close_epoch(self, learner: Learner, seconds: float, share: float, group_size: int) -> None:
        distributed.collect(learner.sums, learner.model, learner.method)
        averages = learner.averages()  # the epoch's host sync
        self._check_finite(learner, averages)
        row = {"stage": learner.stage, "epoch": learner.epoch + 1, "learning_rate": learner.learning_rate(), **averages}
        if learner.stage == "main":
            accuracy = self.evaluate(learner)
            row |= {"test_acc": accuracy.top1, "test_acc_top5": accuracy.top5, "test_loss": accuracy.loss}
        images = share * self.loader.n_data * group_size
        row |= {"seconds": round(seconds, 3), "images_per_s": round(images / seconds, 1)}
        self._print_epoch(learner, row)
        learner.end_epoch(row)
        if row["stage"] == "main":
            self._queue_weights(learner, row)

    def evaluate(self, learner: Learner) -> Accuracy:
        def model(images):
            with autocast(self.opt.precision, learner.device):
                return learner.model(images)

        learner.model.eval()
        accuracy = evaluate(model, self.test(), learner.method.scale)
        learner.model.train()
        return accuracy

    def _check_finite(self, learner: Learner, averages: dict) -> None:
        if math.isfinite(averages["train_loss"]) and learner.sound():
            return
        run, kept = self.runs[learner.trial], "no checkpoint was written yet"
        if (run.folder / NEWEST).exists():
            kept = f"the last good checkpoint, {run.folder / NEWEST}, is kept"
        skip = ", or skip such steps with --on_nan skip"
        if self.opt.on_nan == "skip":
            skip = f"; {averages['skipped_steps']} of {self.loader.steps} steps were skipped already"
        raise UserError(f"trial {learner.trial}, epoch {learner.epoch + 1}: the loss or the weights are not finite; "
                        f"look at --learning_rate {self.opt.learning_rate}, --precision {self.opt.precision}, the loss "
                        f"weights{skip}; {kept}")

    def _save(self, learners: list[Learner], now: bool = False) -> None:
        """Bring the files of all up to date, if ``--resume_every`` seconds are over, a learner is done, or ``now``."""
        now = now or any(learner.done for learner in learners)
        if not now and time.monotonic() - self.saved_at < self.opt.resume_every:
            return
        self.saved_at = time.monotonic()
        for learner in learners:
            try:
                self._write(learner)
            except OSError as error:
                where, why = self.runs[learner.trial].folder, error.strerror or error
                print(f"WARNING epoch {learner.history[-1]['epoch']}: could not save to {where} ({why}); the last good "
                      "checkpoint is kept and training goes on", file=sys.stderr, flush=True)

    def _write(self, learner: Learner) -> None:
        """The originals' files first, the resume state last: whatever a kill leaves undone is done again."""
        run = self.runs[learner.trial]
        queued = [path for path in self.unsaved if path.parent == run.folder]
        for path in queued:
            run.save_weights(self.unsaved[path], path)
            del self.unsaved[path]
        run.save_resume(self._resume_state(learner))
        run.log_epochs(learner.history)
        if any(path.name.startswith("ckpt_epoch_") for path in queued):
            run.write_curves(learner.history)

    def _queue_weights(self, learner: Learner, row: dict) -> None:
        run, epoch, accuracy, name = self.runs[learner.trial], row["epoch"], row["test_acc"], self.about["arch"]
        if accuracy > learner.best.get("top1", -1.0):
            learner.best = {"top1": accuracy, "top5": row["test_acc_top5"], "epoch": epoch}
            self._queue(run.folder / f"{name}_best.pth", self._weights(learner, epoch=epoch, best_acc=accuracy))
        if epoch % self.opt.save_freq == 0:
            self._queue(run.folder / f"ckpt_epoch_{epoch}.pth", self._weights(learner, epoch=epoch, accuracy=accuracy))

    def _queue(self, path: Path, state: dict) -> None:
        """A copy, because the network trains on while it waits: for its time, or for a disk that was full."""
        self.unsaved[path] = copy.deepcopy(state)

    def _weights(self, learner: Learner, **more) -> dict:
        optimizer = {} if self.about["role"] == "student" else {"optimizer": learner.optimizer.state_dict()}
        return {**more, "opt": self.configs[learner.trial], "model": contiguous(learner.model), **optimizer,
                **self.about}

    def _resume_state(self, learner: Learner) -> dict:
        return {**learner.state_dict(), "trial": learner.trial, "config": self.configs[learner.trial],
                "points": self.runs[learner.trial].points, "commits": self.runs[learner.trial].commits}

    def _stop(self, group: list[Learner], signum: int) -> None:
        where = f"{self._label(group[0]).lower()}, step {group[0].step} of {self.loader.steps}"
        raise Interrupted(signum, f"stopped by signal {signum} at {where}; {self._keep(group)}")

    def _keep(self, group: list[Learner]) -> str:
        """Save in the middle of an epoch; says what became of it."""
        try:
            for learner in group:
                distributed.collect(learner.sums, learner.model, learner.method)
                self._write(learner)
        except OSError as error:
            return (f"could not save ({error.strerror or error}: {error.filename}), but the last good checkpoint is "
                    "kept; go on with --resume auto")
        return "saved, go on with --resume auto"

    def _kept(self, group: list[Learner], error: DataError) -> DataError:
        """The same error, with what became of the training so far; of several processes the others can't save now."""
        kept = "what was saved before is kept, go on with --resume auto"
        return DataError(f"{error}; {kept if distributed.size() > 1 else self._keep(group)}")

    def _finish(self, learner: Learner) -> None:
        run, last = self.runs[learner.trial], learner.history[-1]
        run.save_weights(self._weights(learner), run.folder / f"{self.about['arch']}_last.pth")
        run.write_curves(learner.history)
        best = learner.best
        run.write_summary({
            "name": run.folder.name, "trial": learner.trial, "epochs": learner.epoch,
            "last_top1": last["test_acc"], "last_top5": last["test_acc_top5"], "last_test_loss": last["test_loss"],
            "best_top1": best["top1"], "best_top5": best["top5"], "best_epoch": best["epoch"],
            "validated_on": "holdout" if self.opt.holdout else "test", "train_fraction": self.opt.train_fraction,
            "wall_time_s": round(sum(row["seconds"] for row in learner.history), 1), **self.measured})

    # What is shown ------------------------------------------------------------------------------------------------

    def _bar(self, learner: Learner, start: int):
        if not sys.stderr.isatty():
            return None
        return tqdm(total=self.loader.steps, initial=start, desc=self._label(learner), unit="step", leave=False)

    def _label(self, learner: Learner) -> str:
        last = self.opt.init_epochs if learner.stage == "init" else self.opt.epochs
        return f"{'Init epoch' if learner.stage == 'init' else 'Epoch'} {learner.epoch + 1}/{last}"

    def _report(self, group: list[Learner], step: int, bar, began: float, start: int) -> None:
        """A printed line, a bar's figures or a TensorBoard point: the only moments that wait for the device."""
        if bar is not None:
            bar.update()
        to_print, to_log = (step - 1) % self.opt.print_freq == 0, step % self.opt.tb_freq == 0
        if not to_print and not to_log:
            return
        for learner in group:
            averages = learner.averages()
            if to_log and learner.stage == "main":
                self.runs[learner.trial].log_step(averages["train_loss"], learner.epoch * self.loader.steps + step)
            if not to_print:
                continue
            accuracy = f"  Acc@1 {averages['train_acc']:.2f}" if learner.stage == "main" else ""
            if bar is not None:
                bar.set_postfix_str(f"loss {averages['train_loss']:.4f}{accuracy}")
                continue
            trial = f"trial {learner.trial}  " if len(self.learners) > 1 else ""
            ms = 1000 * (time.perf_counter() - began) / (step - start)
            print(f"{self._label(learner)} [{step}/{self.loader.steps}]  {trial}{ms:.1f} ms/step  "
                  f"Loss {averages['train_loss']:.4f}{accuracy}", flush=True)

    def _print_epoch(self, learner: Learner, row: dict) -> None:
        trial = f" trial {learner.trial}:" if len(self.learners) > 1 else ""
        text = f" *{trial} {self._label(learner)}  lr {row['learning_rate']:.4g}  train loss {row['train_loss']:.4f}"
        if learner.stage == "main":
            held = "holdout" if self.opt.holdout else "test"
            text += (f"  Acc@1 {row['train_acc']:.2f}  |  {held} Acc@1 {row['test_acc']:.2f} "
                     f"Acc@5 {row['test_acc_top5']:.2f}")
        if self.opt.mix != "none":
            text += f"  mixed {100 * row['mixed_fraction']:.1f} %"
        print(f"{text}  {row['seconds']:.1f} s, {row['images_per_s']:.0f} images/s", flush=True)


def train(opt: Namespace, claim: Claim, learners: Sequence[Learner], teacher, data, loader, device: torch.device,
        arch: str, role: str) -> None:
    """Train all learners to the end and print where their results lie, with mean and deviation over trials."""
    about = {"arch": arch, "num_classes": data.num_classes, "dataset": data.name, "role": role,
             "classes": list(data.classes)}
    trainer = Trainer(opt, teacher, learners, device)
    test = dataset.make_test_batches(data, device, FORMAT, opt.num_workers, distributed.share())
    measured = {"teacher_top1": teacher.top1} if teacher else {}
    Loop(opt, trainer, learners, claim.runs, claim.configs, loader, test, about, measured).fit()
    last = torch.tensor([learner.history[-1]["test_acc"] for learner in learners], dtype=torch.float64)
    best = [learner.best["top1"] for learner in learners]
    for learner, folder, top1 in zip(learners, claim.runs, best, strict=True):
        print(f"trial {learner.trial}: last accuracy {learner.history[-1]['test_acc']:.2f}, best accuracy {top1:.2f}  "
              f"{folder.folder}")
    if len(learners) > 1:
        print(f"last accuracy over {len(learners)} trials: mean {last.mean():.2f}, standard deviation {last.std():.2f}")
