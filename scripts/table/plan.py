"""From a table to its runs: the commands, their order, which are finished, what the rest costs."""
from __future__ import annotations

import contextlib
import io
import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dataset import FOLDERS
from distiller_zoo import distiller_dict
from helper.errors import UserError
from helper.known_teachers import PRETRAINED, TORCHVISION, teacher_files
from helper.options import parse_student, parse_teacher
from helper.run import teacher_name
from helper.teacher import read_teacher

from .costs import epoch_cost
from .results import Result, Store, digests, is_finished, networks, result_of
from .spec import Cell, Size, Table, slug

TEACHER_TRIAL = "0"


@dataclass
class Training:
    """A script and its flags: a process, in which all trials are trained side by side."""

    kind: str  # the folder under --save_dir: models or student_model
    flags: tuple[str, ...]
    label: str
    trials: list[str] = field(default_factory=list)
    source: TeacherSource | None = None  # of a student's teacher
    done: dict[str, Result] = field(default_factory=dict)
    kept: dict[str, Result] = field(default_factory=dict)  # of which the result folder has the records
    unfinished: dict[str, int] = field(default_factory=dict)  # epochs that an unfinished trial has been trained
    wanted: set[str] = field(default_factory=set)  # the trials that --only selects
    retrain: set[str] = field(default_factory=set)  # done, but the weights that a student needs are gone

    def add(self, trials: list[str]) -> None:
        self.trials += [trial for trial in trials if trial not in self.trials]

    @property
    def script(self) -> str:
        return "train_teacher.py" if self.kind == "models" else "train_student_mixstd.py"

    @property
    def teacher(self) -> Training | None:
        """The run that must come first."""
        return self.source.run if self.source else None

    @cached_property
    def opt(self) -> Namespace:
        """The flags as the script resolves them; what it would refuse is a UserError here."""
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):
                return (parse_teacher if self.kind == "models" else parse_student)(list(self.flags))
        except SystemExit:
            raise UserError(f"{self.label}: {complaint.getvalue().split('error: ', 1)[-1].strip()}") from None

    @property
    def missing(self) -> list[str]:
        return [trial for trial in self.trials if trial in self.wanted - (self.done.keys() - self.retrain)]

    @property
    def epochs_left(self) -> int:
        """Epochs that all missing trials have still to train, first stages included."""
        two_stage = self.kind == "student_model" and distiller_dict[self.opt.distill].two_stage
        whole = self.opt.epochs + (self.opt.init_epochs if two_stage else 0)
        return sum(max(0, whole - self.unfinished.get(trial, 0)) for trial in self.missing)

    def argv(self, trials: Sequence[str]) -> list[str]:
        return [self.script, *self.flags, "--trial", ",".join(trials), "--resume", "auto"]

    def command(self, trials: Sequence[str] = ()) -> str:
        return "python " + shlex.join(self.argv(trials or self.trials))


@dataclass
class TeacherSource:
    """The file of a teacher's weights. run: what trains them, None where the file came from elsewhere; others:
    earlier paths of these weights, to match records whose teacher file is gone."""

    path: Path
    run: Training | None
    others: list[Path]

    @property
    def files(self) -> list[Path]:
        return [self.path] if self.path.is_file() else [self.path, *self.others]


class Plan:
    """All runs of a table, those of ``only`` marked wanted, their teachers with them. folder: where its results go."""

    def __init__(self, table: Table, size: Size, opt: Namespace, only: Callable[[Cell], bool]):
        self.table, self.size, self.opt = table, size, opt
        self.folder = Path(opt.out, slug(table.name), size.folder)
        self.store, self.records = Store(opt.save_dir), Store(self.folder)
        if opt.teacher_dir and not Path(opt.teacher_dir).is_dir():
            raise UserError(f"--teacher_dir {opt.teacher_dir}: no such folder")
        self.runs: dict[tuple, Training] = {}
        self.teachers: dict[tuple[str, str], TeacherSource] = {}
        self.cell_runs: dict[tuple[str, str], tuple[Training | None, list[str]]] = {}
        for cell in table.cells:
            try:
                run, trials = self._run_of(cell)
            except UserError as error:
                raise UserError(f"table {table.name}: {error}") from None
            self.cell_runs[cell.key] = run, trials
            if run is not None:
                run.add(trials)
                run.wanted |= set(trials) if only(cell) else set()
        self.refresh()
        for run in list(self.runs.values()):
            if run.missing and run.teacher:
                run.teacher.wanted.add(TEACHER_TRIAL)
                if not run.source.path.is_file():
                    run.teacher.retrain.add(TEACHER_TRIAL)

    def refresh(self) -> None:
        """Find the finished and unfinished runs."""
        self.store.refresh()
        self.records.refresh()
        for run in self.runs.values():
            files = run.source.files if run.source else ()
            for trial, found in self.store.find(run.opt, files).items():
                if trial in run.trials and is_finished(found):
                    run.done[trial] = result_of(found)
                elif trial in run.trials:
                    run.unfinished[trial] = len(found.log)
            run.kept = {trial: result_of(found) for trial, found in self.records.find(run.opt, files).items()
                        if is_finished(found)}
            if run.teacher and run.source.path.is_file():
                run.teacher.retrain.clear()

    def keep_records(self) -> None:
        for run in self.runs.values():
            for result in run.done.values():
                self.records.keep(result)

    @property
    def waiting(self) -> list[Training]:
        """The runs to train, teachers first."""
        runs = [run for run in self.runs.values() if run.missing]
        return sorted(runs, key=lambda run: run.kind != "models")

    def results(self, cell: Cell) -> list[Result]:
        """The finished runs of a cell, all of one teacher, that of the most trials. Of a teacher that came as a file,
        its accuracy as one of its students measured it at the start; it is of the full recipe, so it is shown in full
        tables only."""
        run, trials = self.cell_runs[cell.key]
        if run is not None:
            by_teacher: dict[str, dict[str, Result]] = {}
            kept = [result for trial, result in run.kept.items()  # of other trials too, but for those of another row
                    if trial in trials or (cell.row.role != "teacher" and trial not in run.trials)]
            for result in (*kept, *(run.done[trial] for trial in trials if trial in run.done)):
                by_teacher.setdefault(result.teacher, {})[result.trial] = result
            return sorted(max(by_teacher.values(), key=len, default={}).values(), key=lambda result: result.order)
        path = self.source_of(cell).path
        exists = path.is_file()  # else it is torchvision's: its students are the runs with that --path_t
        students = [result for run in self.runs.values() if exists or str(path) in run.flags
                    for result in (*run.kept.values(), *run.done.values()) if result.teacher_top1 is not None]
        names = digests(path) if exists else [result.teacher for result in students]
        for student in students if not self.size.label else ():
            if student.teacher in names:
                return [Result(TEACHER_TRIAL, student.teacher_top1, student.teacher_top1,
                               teacher_origin=student.teacher_origin)]
        return []

    def source_of(self, cell: Cell) -> TeacherSource:
        return self.teachers[cell.teacher, cell.row.teacher]

    def cost(self, run: Training) -> int:
        """Multiply-adds of the missing trials."""
        return epoch_cost(*networks(vars(run.opt)), *self.size.images) * run.epochs_left

    def costs(self) -> tuple[int, int]:
        """Multiply-adds of all that is missing, and of the longest chain, a run (with all its seeds) after its teacher:
        no number of devices is faster than that."""
        missing = {id(run): self.cost(run) for run in self.waiting}
        chains = [missing[id(run)] + missing.get(id(run.teacher), 0) for run in self.waiting]
        return sum(missing.values()), max(chains, default=0)

    # Commands ---------------------------------------------------------------------------------------------------------

    def _run_of(self, cell: Cell) -> tuple[Training | None, list[str]]:
        row, trials = cell.row, self.opt.trial or self.table.trial.split(",")
        if row.role == "teacher":
            return self._teacher(cell.teacher, row.teacher).run, [TEACHER_TRIAL]
        if row.role == "student":
            words = ["--model", cell.student, *shlex.split(row.flags)]
            return self._run("models", words, f"{row.name}, {cell.student} alone"), trials
        source = self._teacher(cell.teacher, row.teacher)
        flags = ["--path_t", str(source.path), "--model_t", cell.teacher, "--model_s", cell.student,
                 *shlex.split(row.flags)]
        flags += self._scaled(Training("student_model", (*flags, *self._common()), cell.label).opt)
        run = self._run("student_model", flags, cell.label)
        run.source = source
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
                  "lr_decay_epochs": ",".join(map(str, self.size.drops))}
        flags = [part for name, value in recipe.items() for part in (f"--{name}", str(value))]
        if self.size.train_fraction != 1:
            flags += ["--train_fraction", str(self.size.train_fraction)]
        places = ("save_dir", "data_dir", "device", "threads")
        return flags + [part for name in places if getattr(self.opt, name) != self.opt.defaults[name]
                        for part in (f"--{name}", str(getattr(self.opt, name)))]

    # Teachers ---------------------------------------------------------------------------------------------------------

    def _teacher(self, arch: str, flags: str) -> TeacherSource:
        """The first of these that exists:

        1. --teacher_dir's
        2. the table's own finished one
        3. of models/pretrained/, or a fetched one, unless the table's recipe is a reduced one
        4. torchvision's, in tables of ImageNet
        5. the one that will be trained
        """
        if (arch, flags) in self.teachers:
            return self.teachers[arch, flags]
        words, label = ["--model", arch, *shlex.split(flags)], f"teacher {arch} {flags}".strip()
        opt = Training("models", (*words, *self._common()), label).opt
        expected = Path(self.opt.save_dir, "models", teacher_name(opt, TEACHER_TRIAL), f"{arch}_last.pth")
        stored = self.store.find(opt).get(TEACHER_TRIAL)
        own = last = stored.folder / expected.name if stored else expected
        files = [own]
        if not flags and self.size.dataset == self.size.recipe_dataset:
            files = teacher_files(arch, own, self.opt.save_dir, self.opt.teacher_dir)
            if self.table.reduced:  # its teachers are of its own recipe; networks of the full one are not
                files = files[:files.index(own) + 1]
            last = torchvision_path(arch, self.table) or own
        path = next((file for file in files if file.is_file() and (file == own or self._is_full(file, arch))), last)
        run = self._run("models", words, label) if path == own else None
        if run:
            run.add([TEACHER_TRIAL])
        self.teachers[arch, flags] = TeacherSource(path, run, [*files, expected])
        return self.teachers[arch, flags]

    def _is_full(self, path: Path, arch: str) -> bool:
        """Whether a teacher that comes as a file is one of the recipe, as far as it states: another is passed over, and
        refused where the user has put it."""
        full = {"dataset": self.size.recipe_dataset, "epochs": self.size.recipe_epochs, "train_fraction": 1.0,
                "holdout": 0}
        less = read_teacher(str(path), arch).less_than(full)
        if less and PRETRAINED not in path.resolve().parents:
            raise UserError(f"teacher {path}: not of the recipe of table {self.table.name} ({', '.join(less)}); put "
                            "another in its place, or remove it and it is trained")
        return not less


def torchvision_path(arch: str, table: Table) -> Path | None:
    """The --path_t of torchvision's weights, which a run downloads when it first reads them; None for a table whose
    networks are not torchvision's."""
    return Path(f"{TORCHVISION}{arch}") if table.recipe["dataset"] in FOLDERS else None
