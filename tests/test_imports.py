"""Imports go one way: scripts and train_*.py -> helper -> distiller_zoo, dataset, models, which are strangers."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY = {"distiller_zoo": set(), "dataset": set(), "models": set(), "helper": {"distiller_zoo", "dataset", "models"},
       "scripts": {"helper", "distiller_zoo", "dataset", "models", "train_teacher", "train_student_mixstd"}}


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", MAY)
def test_a_room_imports_only_what_lies_below_it(room):
    rooms = {*MAY, "tests", "train_teacher", "train_student_mixstd"}
    files = list((ROOT / room).rglob("*.py"))
    found = {(file.relative_to(ROOT).as_posix(), name) for file in files for name in rooms & {*imported(file)}}
    assert files and not {(file, name) for file, name in found if name not in MAY[room] | {room}}
