"""The epochs of one run: train, evaluate, record, save, and what can go wrong between them."""
from __future__ import annotations

import copy
import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from dataset import DataError

from . import checkpoint, ddp
from .argtypes import seed_of
from .engine import Engine
from .errors import UserError
from .evaluate import Accuracy, evaluate
from .recipe import learning_rate_at
from .run import Run
from .stored_runs import NEWEST
from .teacher import steps_ahead, with_teacher

COLUMNS = {"init": {"train_loss", "seconds"},  # that every row of the history has, by stage
           "main": {"train_loss", "train_acc", "test_loss", "test_acc", "test_acc_top5", "seconds"}}
PHASE = {"main": 0, "init": 1}  # the two stages draw different plans


class Fit:
    """One run: an engine, its progress, its record.

    Progress is (stage, epoch, step): ``epoch`` epochs of the stage are complete, ``step`` steps of the next one done.
    loader: see dataset.DeviceLoader. test: callable that returns fresh (images, labels) batches. about: what every
    checkpoint holds beside weights (arch, num_classes, dataset, role). measured: what summary.json holds beside the
    student's own figures.
    """

    def __init__(self, opt: Namespace, engine: Engine, loader, test: Callable, about: dict,
                 measured: dict | None = None):
        self.opt, self.engine = opt, engine
        self.trial, = opt.trial
        self.seed = seed_of(self.trial)
        self.loader, self.test, self.about, self.measured = loader, test, about, measured or {}
        self.epoch, self.step = 0, 0
        self.history: list[dict] = []
        self.best: dict[str, float] = {}
        self.unsaved: dict[Path, dict] = {}
        self.saved_at = time.monotonic()
        self.ahead = steps_ahead(engine.device, opt.batch_size // ddp.world_size(), engine.method.needs_features)
        self.shared: Callable | None = None  # together.py: where the epoch's batches come from in place of batches()
        self.label = ""  # before what is printed, where several runs print
        self.line = 0  # of the terminal, for the progress bar, where several runs have one
        self.began = time.monotonic(), 0  # when this process started it, and the epochs that were complete then
        self.run: Run

    @property
    def stage(self) -> str:
        return self.engine.stage

    @property
    def done(self) -> bool:
        return self.stage == "main" and self.epoch >= self.opt.epochs

    # Training -----------------------------------------------------------------------------------------------------

    def train(self) -> Generator[None, None, None]:
        """All that is left of the run; pauses after every step, so that several runs can take turns."""
        self.began = time.monotonic(), len(self.history)
        while not self.done:
            yield from self.train_epoch()
        self.finish()

    def train_epoch(self) -> Iterator[None]:
        began, start = time.perf_counter(), self.step
        self.begin_epoch()
        with self.progress_bar() as bar:
            for batch in self.shared(self) if self.shared else self.batches(start):
                self.seed_generators()
                try:
                    self.engine.step(batch)
                except torch.cuda.OutOfMemoryError:
                    raise UserError(f"CUDA ran out of memory at --batch_size {self.opt.batch_size}; give a smaller "
                                    "one, fewer runs at once, or --loader torch") from None
                self.step += 1
                self.report(bar, began, start)
                yield
        if self.engine.device.type == "cuda":
            torch.cuda.current_stream().synchronize()  # steps are queued yet: an epoch's time includes them
        self.close_epoch(time.perf_counter() - began, (self.loader.steps - start) / self.loader.steps)

    def begin_epoch(self) -> None:
        self.engine.set_rate(self.learning_rate())
        if self.stage == "main":
            self.engine.method.begin_epoch(self.epoch + 1)
        if self.step == 0:
            self.engine.sums.zero_()

    def seed_generators(self) -> None:
        """torch's generators, from which dropout draws, and a loss may: what a step draws depends on the seed, the
        place in the run and the process alone, so that it is the same beside other runs and after a pause."""
        words = self.seed, PHASE[self.stage], self.epoch + 1, self.step, ddp.rank()
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        torch.default_generator.manual_seed(seed)
        if self.engine.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def learning_rate(self) -> float:
        """Of the epoch in progress."""
        if self.stage == "init":
            return self.engine.method.init_learning_rate(self.opt)
        return learning_rate_at(self.epoch + 1, self.opt)

    def batches(self, start: int) -> Iterator:
        """Those of the epoch from step ``start`` on; with the teacher's logits where the device gains from asking ahead
        of the steps."""
        def epoch(first: int) -> Iterator:
            return self.loader.epoch(self.seed, self.epoch + 1, PHASE[self.stage], start=first)

        if self.ahead == 1 or not self.engine.needs_teacher:
            return epoch(start)
        return with_teacher(self.engine.teacher, self.ahead, epoch, start)

    def end_epoch(self, row: dict) -> None:
        """Count the epoch; ``row`` is its line in log.csv."""
        self.history.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        if self.stage == "init" and self.epoch >= self.opt.init_epochs:
            self.engine.enter("main")
            self.epoch = 0

    # Between epochs -----------------------------------------------------------------------------------------------

    def close_epoch(self, seconds: float, share: float) -> None:
        """Evaluate, print and save; ``share``: the part of the epoch's steps that took the ``seconds``."""
        engine = self.engine
        ddp.collect(engine.sums, engine.model, engine.method)
        averages = engine.averages()  # the epoch's host sync
        self.check_finite(averages)
        row = {"stage": self.stage, "epoch": self.epoch + 1, "learning_rate": self.learning_rate(), **averages}
        if self.stage == "main":
            accuracy = self.evaluate()
            row |= {"test_acc": accuracy.top1, "test_acc_top5": accuracy.top5, "test_loss": accuracy.loss}
        row |= {"seconds": round(seconds, 3), "images_per_s": round(share * self.loader.n_data / seconds, 1)}
        self.print_epoch(row)
        self.end_epoch(row)
        if row["stage"] == "main":
            self.queue_weights(row)
        self.save()

    def evaluate(self) -> Accuracy:
        model = self.engine.model

        def logits(images):
            with self.engine.autocast:
                return model(images)

        model.eval()
        try:
            return evaluate(logits, self.test(), self.engine.method.scale)
        finally:
            model.train()

    def check_finite(self, averages: dict) -> None:
        if math.isfinite(averages["train_loss"]) and self.engine.weights_finite():
            return
        kept = "no checkpoint was written yet"
        if (self.run.folder / NEWEST).exists():
            kept = f"the last good checkpoint, {self.run.folder / NEWEST}, is kept"
        skip = ", or skip such steps with --on_nan skip"
        if self.opt.on_nan == "skip":
            skip = f"; {averages['skipped_steps']} of {self.loader.steps} steps were skipped already"
        raise UserError(f"trial {self.trial}, epoch {self.epoch + 1}: the loss or the weights are not finite; "
                        f"look at --learning_rate {self.opt.learning_rate}, --precision {self.opt.precision}, the loss "
                        f"weights{skip}; {kept}")

    # Files --------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Bring the files up to date, if ``--resume_every`` seconds are over or the run is done."""
        if not self.done and time.monotonic() - self.saved_at < self.opt.resume_every:
            return
        self.saved_at = time.monotonic()
        try:
            self.write()
        except OSError as error:
            if self.done:  # finish() must not make a finished run of it
                raise
            print(f"WARNING epoch {self.history[-1]['epoch']}: could not save to {self.run.folder} "
                  f"({error.strerror or error}); the last good checkpoint is kept and training continues",
                  file=sys.stderr, flush=True)

    def save_midway(self) -> str:
        """Save in the middle of an epoch; returns what became of it."""
        try:
            ddp.collect(self.engine.sums, self.engine.model, self.engine.method)
            self.write()
        except OSError as error:
            return (f"could not save ({error.strerror or error}: {error.filename}), but the last good checkpoint is "
                    "kept; continue with --resume auto")
        return "saved, continue with --resume auto"

    def write(self) -> None:
        """The originals' weights first, then the resume state: whatever a kill leaves undone is done again.
        Rank 0 alone writes."""
        if not ddp.is_rank0():
            self.unsaved.clear()
            return
        written = list(self.unsaved)
        for path in written:
            checkpoint.save(self.unsaved[path], path)
            del self.unsaved[path]
        self.run.save_resume(self.state_dict())
        self.run.log_epochs(self.history)
        if any(path.name.startswith("ckpt_epoch_") for path in written):
            self.run.write_curves(self.history)

    def queue_weights(self, row: dict) -> None:
        """Copies: training continues before they are written (``--resume_every``, or a full disk)."""
        epoch, accuracy, folder = row["epoch"], row["test_acc"], self.run.folder
        if accuracy > self.best.get("top1", -1.0):
            self.best = {"top1": accuracy, "top5": row["test_acc_top5"], "epoch": epoch}
            weights = self.weights(epoch=epoch, best_acc=accuracy)
            self.unsaved[folder / f"{self.about['arch']}_best.pth"] = copy.deepcopy(weights)
        if epoch % self.opt.save_freq == 0:
            weights = self.weights(epoch=epoch, accuracy=accuracy)
            self.unsaved[folder / f"ckpt_epoch_{epoch}.pth"] = copy.deepcopy(weights)

    def weights(self, **more) -> dict:
        """A checkpoint in the originals' form."""
        state = {**more, "opt": self.run.config, "model": checkpoint.cpu_state_dict(self.engine.model)}
        if self.about["role"] != "student":
            state["optimizer"] = checkpoint.optimizer_state(self.engine.optimizer)
        return {**state, **self.about}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "step": self.step, "history": self.history, "best": self.best,
                **self.engine.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a :meth:`state_dict`. Raises ValueError where its parts disagree, which a file's digest can't show;
        one of another form may also raise ArithmeticError, AttributeError, LookupError, RuntimeError or TypeError."""
        if not consistent(state):
            raise ValueError("its epoch, step, history and best epoch don't agree")
        self.engine.load_state_dict(state)
        self.epoch, self.step = state["epoch"], state["step"]
        self.history, self.best = state["history"], state["best"]

    def finish(self) -> None:
        if not ddp.is_rank0():
            return
        run, last, best = self.run, self.history[-1], self.best
        checkpoint.save(self.weights(), run.folder / f"{self.about['arch']}_last.pth")
        run.write_curves(self.history)
        run.write_summary({
            "name": run.folder.name, "trial": self.trial, "epochs": self.epoch,
            "last_top1": last["test_acc"], "last_top5": last["test_acc_top5"], "last_test_loss": last["test_loss"],
            "best_top1": best["top1"], "best_top5": best["top5"], "best_epoch": best["epoch"],
            "validated_on": "holdout" if self.opt.holdout else "test", "train_fraction": self.opt.train_fraction,
            "wall_time_s": round(sum(row["seconds"] for row in self.history), 1), **self.measured})

    def kept(self, error: DataError) -> DataError:
        """The same error, with what became of the training so far; of several processes the others can't save now."""
        if ddp.world_size() > 1:
            return DataError(f"{error}; what was saved before is kept, continue with --resume auto")
        return DataError(f"{error}; {self.save_midway()}")

    # What is shown ------------------------------------------------------------------------------------------------

    def place(self) -> str:
        """'Epoch 3/240', as it is printed."""
        init = self.stage == "init"
        epochs = self.opt.init_epochs if init else self.opt.epochs
        return f"{'Init epoch' if init else 'Epoch'} {self.epoch + 1}/{epochs}"

    def epochs_left(self) -> int:
        """Those not complete, first stage included."""
        return self.opt.epochs - self.epoch + (self.opt.init_epochs if self.stage == "init" else 0)

    def time_left(self) -> str:
        """Of the whole run after the epoch that has just ended, at the pace since this process started it."""
        since, epochs = self.began
        left = self.epochs_left() - 1
        pace = (time.monotonic() - since) / (len(self.history) + 1 - epochs)
        return f", {duration(pace * left)} left" if left else ""

    def progress_bar(self):
        """Counts the steps of the whole run, so that it shows the time left for all of it. Off a terminal it shows
        nothing."""
        steps = self.loader.steps
        done = len(self.history) * steps + self.step
        bar = tqdm(total=done - self.step + self.epochs_left() * steps, initial=done, unit="step", leave=False,
                   desc=f"{self.label and self.label + '  '}{self.place()}", position=self.line, dynamic_ncols=True,
                   disable=not sys.stderr.isatty())
        bar.set_postfix_str(self.last_tested().strip())
        return bar

    def last_tested(self) -> str:
        accuracy = self.history[-1].get("test_acc") if self.history else None
        return "" if accuracy is None else f"  {'holdout' if self.opt.holdout else 'test'} Acc@1 {accuracy:.2f}"

    def report(self, bar, began: float, start: int) -> None:
        """A printed line, a bar's figures or a TensorBoard point: the only moments that wait for the device."""
        bar.update()
        to_print, to_log = (self.step - 1) % self.opt.print_freq == 0, self.step % self.opt.tb_freq == 0
        if not to_print and not to_log:
            return
        averages = self.engine.averages()
        if to_log and self.stage == "main" and ddp.is_rank0():
            self.run.log_step(averages["train_loss"], self.epoch * self.loader.steps + self.step)
        if not to_print:
            return
        accuracy = f"  Acc@1 {averages['train_acc']:.2f}" if self.stage == "main" else ""
        if not bar.disable:
            bar.set_postfix_str(f"loss {averages['train_loss']:.4f}{accuracy}{self.last_tested()}")
            return
        ms = 1000 * (time.perf_counter() - began) / (self.step - start)
        print(f"{self.place()} [{self.step}/{self.loader.steps}]  {self.label and self.label + '  '}{ms:.1f} ms/step  "
              f"Loss {averages['train_loss']:.4f}{accuracy}", flush=True)

    def print_epoch(self, row: dict) -> None:
        if self.label and sys.stderr.isatty():
            return  # a bar per run shows it
        text = f" * {self.label and self.label + ': '}{self.place()}  lr {row['learning_rate']:.4g}  " \
               f"train loss {row['train_loss']:.4f}"
        if self.stage == "main":
            split = "holdout" if self.opt.holdout else "test"
            text += (f"  Acc@1 {row['train_acc']:.2f}  |  {split} Acc@1 {row['test_acc']:.2f} "
                     f"Acc@5 {row['test_acc_top5']:.2f}")
        if self.opt.mix != "none":
            text += f"  mixed {100 * row['mixed_fraction']:.1f} %"
        print_line(f"{text}  {row['seconds']:.1f} s, {row['images_per_s']:.0f} images/s{self.time_left()}")


def consistent(state: dict[str, Any]) -> bool:
    """Whether progress, history and best epoch of a run's state agree."""
    stage, history, numbers = state["stage"], state["history"], (int, float)
    epochs = {s: [row["epoch"] for row in history if row["stage"] == s] for s in COLUMNS}
    return (all(column == list(range(1, len(column) + 1)) for column in epochs.values())
            and len(epochs[stage]) == state["epoch"] and type(state["step"]) is int and state["step"] >= 0
            and not (stage == "init" and epochs["main"])
            and all(COLUMNS[row["stage"]] <= row.keys() for row in history)
            and all(type(v) in numbers for row in history for name, v in row.items() if name != "stage")
            and state["best"].keys() == ({"top1", "top5", "epoch"} if epochs["main"] else set())
            and all(type(v) in numbers for v in state["best"].values()))


def print_line(text: str) -> None:
    """Print above the progress bars, where there are some."""
    with tqdm.external_write_mode():
        print(text, flush=True)


def duration(seconds: float) -> str:
    """In words: 35 s, 12 min or 3.4 h."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"
