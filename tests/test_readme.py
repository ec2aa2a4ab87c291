"""The README says only what is so: its flags exist with its defaults, its files and modules are there."""
import re
from pathlib import Path

import pytest

from distiller_zoo import distiller_dict
from helper.options import parse_student, parse_teacher

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
TEACHER, STUDENT = parse_teacher([]), parse_student([])


def table_rows():
    section = README.split("## Flags")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines()
            if line.startswith("| `")]


def test_every_flag_is_in_the_table_and_exists():
    named = {flag for row in table_rows() for flag in re.findall(r"--([a-zA-Z_]+)", row[0])}
    own = {flag for method in distiller_dict.values() for flag in method.flags}
    known = ({*TEACHER.defaults, *STUDENT.defaults} - own - {"scale_T"})
    assert named - {"no"} >= known
    assert named - {"no"} <= known


@pytest.mark.parametrize("row", table_rows(), ids=lambda row: row[0])
def test_defaults(row):
    flags = re.findall(r"--([a-z][a-zA-Z_]+)", row[0])
    words = re.split(r"[,;] ?", row[1].replace("`", ""))
    for flag in flags:
        for defaults in (TEACHER.defaults, STUDENT.defaults):
            default = defaults.get(flag)
            if isinstance(default, (int, float)) and not isinstance(default, bool):
                assert any(is_number(word, default) for word in words), (flag, default)


def is_number(word, value):
    try:
        return float(word) == value
    except ValueError:
        return False


def test_methods_are_all_named():
    row, = (row for row in table_rows() if row[0] == "`--distill`")
    assert row[2].split(", ") == list(distiller_dict)


def test_files_and_modules_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    for module in re.findall(r"-m scripts\.(\w+)", README):
        assert (ROOT / "scripts" / f"{module}.py").exists(), module
    for script in re.findall(r"scripts/\w+\.sh", README):
        assert (ROOT / script).exists(), script
