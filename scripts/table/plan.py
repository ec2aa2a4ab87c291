"""From a table to its runs: which commands, in which order, what is done, how long the rest may take."""
from __future__ import annotations

import contextlib
import io
import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dataset import SIZES
from distiller_zoo import distiller_dict
from helper.errors import UserError
from helper.known_teachers import teacher_files
from helper.options import parse_student, parse_teacher
from helper.recipe import FULL
from helper.run import teacher_name

from .costs import TIMED, epoch_cost, measured_rate
from .results import Result, Store, result_of
from .spec import Cell, Size, Table
from .teachers import TEACHER_TRIAL, check, of_file, torchvision_path

PLACES = ("--path_t", "--save_dir", "--data_dir", "--device", "--threads")
# For the estimates from finished runs: what a test image costs beside a training image (a student's forward pass beside
# its step and the teacher's); a process's start, in seconds.
EVALUATION = 0.25
START = 8.0


@dataclass
class Training:
    """One process: a script and its flags; several trials of one configuration share it."""

    kind: str  # the folder under --save_dir: models or student_model
    flags: tuple[str, ...]
    label: str
    trials: list[str] = field(default_factory=list)
    teacher: Training | None = None  # the run that must come first
    done: dict[str, Result] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)  # epochs of an unfinished trial, which goes on from there
    wanted: set[str] = field(default_factory=set)  # the trials asked for
    again: set[str] = field(default_factory=set)  # done, but the weights that are needed are gone

    def add(self, trials: list[str]) -> None:
        self.trials += [trial for trial in trials if trial not in self.trials]

    @property
    def script(self) -> str:
        return "train_teacher.py" if self.kind == "models" else "train_student_mixstd.py"

    def parse(self) -> Namespace:
        """The flags as the script resolves them; what it would refuse is a UserError here."""
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):
                return (parse_teacher if self.kind == "models" else parse_student)(list(self.flags))
        except SystemExit:
            raise UserError(complaint.getvalue().split("error: ", 1)[-1]) from None

    @property
    def missing(self) -> list[str]:
        return [trial for trial in self.trials if trial in self.wanted - (self.done.keys() - self.again)]

    @property
    def complete(self) -> bool:
        return set(self.trials) <= self.done.keys()

    def argv(self, trials: Sequence[str]) -> list[str]:
        return [self.script, *self.flags, "--trial", ",".join(trials), "--resume", "auto"]

    def command(self, trials: Sequence[str] = ()) -> str:
        return "python " + shlex.join(self.argv(trials or self.trials))


@dataclass
class TeacherSource:
    """Where a teacher's weights are taken from. run: what trains them; None where the file came from elsewhere."""

    path: Path
    run: Training | None
    candidates: tuple[Path, ...]


class Plan:
    """All runs of a table, those of ``only`` marked wanted, their teachers with them."""

    def __init__(self, table: Table, size: Size, opt: Namespace, store: Store, only: Callable[[Cell], bool]):
        self.table, self.size, self.opt, self.store = table, size, opt, store
        if opt.teacher_dir and not Path(opt.teacher_dir).is_dir():
            raise UserError(f"--teacher_dir {opt.teacher_dir}: no such folder")
        self.runs: dict[tuple, Training] = {}
        self.teachers: dict[tuple[str, str], TeacherSource] = {}
        self.of: dict[tuple[str, str], tuple[Training | None, list[str]]] = {}
        for cell in table.cells:
            run, trials = self._run_of(cell)
            self.of[cell.key] = run, trials
            if run is not None:
                run.add(trials)
                run.wanted |= set(trials) if only(cell) else set()
        self.look()
        for run in list(self.runs.values()):
            if run.missing and run.teacher is not None:
                self._want_teacher(run.teacher)

    def look(self) -> None:
        """Find what is done."""
        self.store.refresh()
        for run in self.runs.values():
            opt = self._parsed(run)
            candidates = self._candidates_of(run)
            for trial in run.trials:
                found = self.store.find(run.kind, opt, trial, self.size, candidates)
                if found is not None:
                    run.done[trial] = result_of(found)
                elif begun := self.store.begun(run.kind, opt, trial, candidates):
                    run.begun[trial] = len(begun.log)

    def _parsed(self, run: Training) -> Namespace:
        try:
            return run.parse()
        except UserError as error:
            raise UserError(f"table {self.table.name}, {run.label}: {error}") from None

    @property
    def waiting(self) -> list[Training]:
        """What has to be trained, teachers first."""
        runs = [run for run in self.runs.values() if run.missing]
        return sorted(runs, key=lambda run: run.kind != "models")

    def results(self, cell: Cell) -> list[Result]:
        run, trials = self.of[cell.key]
        if run is None:
            return [] if self.size.label else self._of_file(cell)
        return [run.done[trial] for trial in trials if trial in run.done]

    def _of_file(self, cell: Cell) -> list[Result]:
        path = self.teachers[cell.teacher, cell.row.teacher].path
        runs = [run for run in self.runs.values() if path.is_file() or str(path) in run.flags]
        return of_file(path, [result for run in runs for result in run.done.values()])

    def teacher_of(self, cell: Cell) -> TeacherSource | None:
        return self.teachers[cell.teacher, cell.row.teacher] if cell.row.role == "distil" else None

    def configuration(self, cell: Cell) -> str:
        """All that decides a cell's numbers but the teacher's weights: the run's flags without its places."""
        run, _ = self.of[cell.key]
        if run is None:
            return "taken as a file"
        words, kept = iter(run.flags), []
        for word in words:
            if word in PLACES:
                next(words)  # its value
            else:
                kept.append(word)
        before = f"teacher {cell.row.teacher}: " if cell.row.teacher and cell.row.role == "distil" else ""
        return f"{before}{run.script} {shlex.join(kept)}"

    def seconds(self, run: Training) -> tuple[float, bool]:
        """Estimated time of the missing trials, and whether finished runs tell (else the networks' multiply-adds)."""
        opt = run.parse()
        cuda = self.opt.device != "cpu" and torch.cuda.is_available()
        train, test = self.size.images
        speed = self.store.images_per_s(run.kind, opt, cuda)
        if speed is not None:
            return START + (train + EVALUATION * test) * epochs_of(run, opt) / speed, True
        device = "cpu" if not cuda else "cuda" if self.opt.device == "auto" else self.opt.device
        return START + self._multiply_adds(run) / measured_rate(device), False

    def _multiply_adds(self, run: Training) -> float:
        """Of the missing trials, by the networks."""
        opt = run.parse()
        student, teacher = (opt.model, None) if run.kind == "models" else (opt.model_s, opt.model_t)
        return epoch_cost(student, teacher, *self.size.images) * epochs_of(run, opt)

    def shares(self) -> tuple[float, float]:
        """What is missing in units of a full run of resnet56 > resnet20 on CIFAR-100, by multiply-adds: in all, and in
        the longest chain, a run (with all its seeds) after its teacher: no number of devices is done before that."""
        teacher, student, _ = TIMED
        unit = epoch_cost(student, teacher, *SIZES[FULL["dataset"]]) * FULL["epochs"]
        costs = {id(run): self._multiply_adds(run) / unit for run in self.runs.values() if run.missing}
        chains = [costs[id(run)] + costs.get(id(run.teacher), 0.0) for run in self.runs.values() if run.missing]
        return sum(costs.values()), max(chains, default=0.0)

    # Commands ---------------------------------------------------------------------------------------------------------

    def _run_of(self, cell: Cell) -> tuple[Training | None, list[str]]:
        row, trials = cell.row, self.opt.trial or self.table.trial.split(",")
        if row.role == "teacher":
            return self._teacher(cell.teacher, row.teacher).run, [TEACHER_TRIAL]
        if row.role == "student":
            return self._run("models", ["--model", cell.student, *cell.flags], f"{cell.student} alone"), trials
        teacher = self._teacher(cell.teacher, row.teacher)
        flags = ["--path_t", str(teacher.path), "--model_t", cell.teacher, "--model_s", cell.student, *cell.flags]
        flags += self._scaled(self._parsed(Training("student_model", (*flags, *self._common()), cell.label)))
        run = self._run("student_model", flags, cell.label)
        run.teacher = teacher.run
        return run, trials

    def _scaled(self, opt: Namespace) -> list[str]:
        """The flags of the method that count epochs or images of the full recipe, for this size."""
        method = distiller_dict[opt.distill]
        stages = ("init_epochs",) if method.two_stage else ()
        return self.size.scaled(opt, (*stages, *method.per_epoch), method.per_image)

    def _run(self, kind: str, flags: list[str], label: str) -> Training:
        flags = (*flags, *self._common())
        return self.runs.setdefault((kind, flags), Training(kind, flags, label))

    def _common(self) -> list[str]:
        recipe = {**self.table.recipe, "dataset": self.size.dataset, "epochs": self.size.epochs,
                  "lr_decay_epochs": ",".join(map(str, self._decay_epochs()))}
        flags = [part for name, value in recipe.items() for part in (f"--{name}", str(value))]
        if self.size.train_fraction != 1:
            flags += ["--train_fraction", str(self.size.train_fraction)]
        if self.size.holdout:
            flags += ["--holdout", str(self.size.holdout)]
        places = ("save_dir", "data_dir", "device", "threads")
        return flags + [part for name in places if getattr(self.opt, name) != self.opt.defaults[name]
                        for part in (f"--{name}", str(getattr(self.opt, name)))]

    def _decay_epochs(self) -> list[int]:
        """The drops at the recipe's shares of the epochs; those that fall together or outside are one or none."""
        share = self.size.epochs / self.size.recipe_epochs
        drops = {max(1, round(epoch * share)) for epoch in self.table.recipe["lr_decay_epochs"]}
        return sorted(drop for drop in drops if drop < self.size.epochs)

    # Teachers ---------------------------------------------------------------------------------------------------------

    def _teacher(self, arch: str, flags: str) -> TeacherSource:
        """--teacher_dir's, else the table's own finished one, else models/pretrained/, else a fetched one, else
        torchvision's, else the one that will be trained."""
        if (arch, flags) in self.teachers:
            return self.teachers[arch, flags]
        words = ["--model", arch, *shlex.split(flags)]
        opt = self._parsed(Training("models", (*words, *self._common()), f"teacher {arch} {flags}".strip()))
        finished = self.store.find("models", opt, TEACHER_TRIAL, self.size)
        expected = Path(self.opt.save_dir, "models", teacher_name(opt, TEACHER_TRIAL), f"{arch}_last.pth")
        begun = finished or self.store.begun("models", opt, TEACHER_TRIAL)
        own = begun.folder / expected.name if begun else expected
        files, last = [own], own
        if not flags and not self.size.holdout and self.size.dataset == self.size.recipe_dataset:
            files = teacher_files(arch, own, self.opt.save_dir, self.opt.teacher_dir)
            last = torchvision_path(arch, self.table) or own
        found = next((path for path in files if path.is_file()), last)
        if found not in (own, last):
            check(found, arch, self.size, self.table)
        run = None
        if found == own:
            run = self._run("models", words, f"teacher {arch}{' ' + flags if flags else ''}")
            run.add([TEACHER_TRIAL])
        self.teachers[arch, flags] = TeacherSource(found, run, (*files, expected, last))
        return self.teachers[arch, flags]

    def _want_teacher(self, run: Training) -> None:
        run.wanted.add(TEACHER_TRIAL)
        path = next(t.path for t in self.teachers.values() if t.run is run)
        if not path.is_file():
            run.again.add(TEACHER_TRIAL)

    def _candidates_of(self, run: Training) -> tuple[Path, ...]:
        if run.kind == "models":
            return ()
        path = Path(run.flags[run.flags.index("--path_t") + 1])
        return (path,) if path.is_file() else next(t.candidates for t in self.teachers.values() if t.path == path)


def epochs_of(run: Training, opt: Namespace) -> int:
    """Epochs that all missing trials have still to train, first stages included."""
    two_stage = run.kind == "student_model" and distiller_dict[opt.distill].two_stage
    whole = opt.epochs + (opt.init_epochs if two_stage else 0)
    return sum(max(0, whole - run.begun.get(trial, 0)) for trial in run.missing)
