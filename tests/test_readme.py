"""The README says only what is so: its flags exist with its defaults, its files and modules are there."""
import re
from pathlib import Path

from distiller_zoo import distiller_dict
from helper.options import parse_student, parse_teacher

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
TEACHER, STUDENT = parse_teacher([]), parse_student([])


def table_rows():
    section = README.split("<!-- table:flags -->")[1].split("<!-- end -->")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines()
            if line.startswith("| `")]


def test_every_flag_is_in_the_table_and_exists():
    named = {flag for row in table_rows() for flag in re.findall(r"--([a-zA-Z_]+)", row[0])}
    own = {flag for method in distiller_dict.values() for flag in method.flags}
    known = ({*TEACHER.defaults, *STUDENT.defaults} - own)
    assert named - {"no"} >= known
    assert named - {"no"} <= known


def test_defaults():
    """What the table says is what the parsers resolve to, where neither method nor device decides."""
    rows = {flag: row[1] for row in table_rows() for flag in re.findall(r"--([a-zA-Z_]+)", row[0])}
    for flag, shown in rows.items():
        for opt, default in ((STUDENT, shown.split(";")[0]), (TEACHER, shown.split("teachers ")[-1].split(";")[0])):
            value = opt.defaults.get(flag)
            if value is not None and flag != "mix":  # a student's is the method's: tests/test_settings.py
                assert default == (",".join(map(str, value)) if isinstance(value, list) else str(value)), flag


REFRESH = "README.md is behind: python -m scripts.run_table --readme"


def test_methods_are_all_named():
    section = README.split("<!-- table:methods -->")[1].split("<!-- end -->")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(distiller_dict), REFRESH
    row, = (row for row in table_rows() if row[0] == "`--distill`")
    assert row[2].removeprefix("one of ").split(", ") == list(distiller_dict), REFRESH


def test_files_and_modules_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    for module in re.findall(r"-m scripts\.(\w+)", README):
        assert (ROOT / "scripts" / f"{module}.py").exists(), module
    for script in re.findall(r"scripts/\w+\.sh", README):
        assert (ROOT / script).exists(), script
