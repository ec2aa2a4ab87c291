"""A table as a shell script to read and edit, one command per line: scripts/run_NAME.sh."""
from __future__ import annotations

import shlex
from pathlib import Path

from dataset import FOLDERS
from helper.options import parse_student, parse_teacher
from helper.recipe import FULL
from helper.run import teacher_name

from .plan import TEACHER_TRIAL, torchvision_path
from .spec import Cell, Table, names

HEAD = """\
#!/usr/bin/env bash
# {title}
# Table and pictures: python -m scripts.run_table {given}{place}. This file is printed from {file} by
#   python -m scripts.run_table {given} --print > scripts/run_{name}.sh
# Copy a line and edit it, or give flags that go to every command: bash scripts/run_{name}.sh {flags}
{teachers}set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh
"""


def script(table: Table) -> str:
    """The commands of all cells, teachers before their students; each run once. No path of this machine is in it."""
    needed = dict.fromkeys(cell.teacher for cell in table.cells if cell.row.role == "distil" and _ready(table, cell))
    teachers = f"# Its teachers come first: bash scripts/run_cifar_vanilla.sh {' '.join(needed)}\n" if needed else ""
    mine = table.name in names()
    file = f"scripts/tables/{table.name}.json" if mine else f"{table.name}.json"
    own = table.recipe["dataset"] in FOLDERS  # images that can't be downloaded
    lines, seen = [HEAD.format(title=table.title, name=table.name, teachers=teachers, file=file,
                               given=table.name if mine else file, place=" --data_dir DIR" if own else "",
                               flags="--data_dir DIR" if own else "--trial 1 --epochs 60")], set()
    for column in table.columns:
        commands = []
        for cell in table.cells:
            if cell.column == column and cell.row.role != "teacher":
                command = _command(table, cell)
                if command not in seen:
                    seen.add(command)
                    commands += [*_teacher(table, cell, seen), f"{command}  # {cell.row.name}"]
        if commands:
            lines += [f"# {column}", *commands, ""]
    return "\n".join(lines).rstrip() + "\n"


def _command(table: Table, cell: Cell) -> str:
    alone = cell.row.role == "student"
    words = [*cell.flags, *_recipe(table, alone), "--trial", table.trial, "--resume", "auto"]
    if alone:
        return f'"$PYTHON" train_teacher.py --model {cell.student} {shlex.join(words)} "$@"'
    path = _torchvision(table, cell) or f'"${_variable(cell)}"'
    teacher = f"--path_t {path} --model_t {cell.teacher} --model_s {cell.student}"
    return f'"$PYTHON" train_student_mixstd.py {teacher} {shlex.join(words)} "$@"'


def _teacher(table: Table, cell: Cell, seen: set[str]) -> list[str]:
    """The lines that set the variable with the teacher's checkpoint, unless they are in the script already."""
    if cell.row.role == "student" or _variable(cell) in seen or _torchvision(table, cell):
        return []
    seen.add(_variable(cell))
    if _ready(table, cell):
        return [f"{_variable(cell)}=$(teacher {cell.teacher})"]
    words = ["--model", cell.teacher, *shlex.split(cell.row.teacher), *_recipe(table, alone=True)]
    path = f"save/models/{teacher_name(parse_teacher(words), TEACHER_TRIAL)}/{cell.teacher}_last.pth"
    return [f'"$PYTHON" train_teacher.py {shlex.join(words)} --resume auto', f"{_variable(cell)}={shlex.quote(path)}"]


def _ready(table: Table, cell: Cell) -> bool:
    """Whether teachers.sh finds the cell's teacher: trained without flags of its own, on the data set of the papers."""
    return not cell.row.teacher and table.recipe["dataset"] == FULL["dataset"]


def _torchvision(table: Table, cell: Cell) -> Path | None:
    """torchvision's weights as the cell's teacher, if it is one of those."""
    return None if cell.row.teacher else torchvision_path(cell.teacher, table)


def _variable(cell: Cell) -> str:
    """A name for the teacher's path: resnet56, or resnet56_mix_mixup_no_pmixup for one that is trained with flags."""
    flags = "".join(c if c.isalnum() else "_" for c in cell.row.teacher)
    return "_".join(part for part in (cell.teacher, *flags.split("_")) if part)


def _recipe(table: Table, alone: bool) -> list[str]:
    """Those flags of the recipe that differ from the script's defaults for its data set."""
    words = []
    defaults = (parse_teacher if alone else parse_student)(["--dataset", table.recipe["dataset"]]).defaults
    for name, value in table.recipe.items():
        if value != defaults[name]:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += [f"--{name}", text]
    return words
