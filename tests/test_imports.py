"""Imports go one way: scripts and train_*.py -> helper -> distiller_zoo, dataset, models, which import no other."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {"distiller_zoo": set(), "dataset": set(), "models": set(), "helper": {"distiller_zoo", "dataset", "models"},
           "scripts": {"helper", "distiller_zoo", "dataset", "models", "train_teacher", "train_student_mixstd"}}


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_allowed_packages(package):
    packages = {*ALLOWED, "tests", "train_teacher", "train_student_mixstd"}
    files = list((ROOT / package).rglob("*.py"))
    found = {(file.relative_to(ROOT).as_posix(), name) for file in files for name in packages & {*imported(file)}}
    assert files and not {(file, name) for file, name in found if name not in ALLOWED[package] | {package}}
