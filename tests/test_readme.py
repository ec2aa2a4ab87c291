"""The pages agree with the code: flags, defaults, tables, links, files, modules and figures."""
import csv
import re
from pathlib import Path

import pytest

from helper.errors import UserError
from scripts import readme_tables

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *ROOT.glob("*/*.md"), ROOT / "models/pretrained/table.md"]


@pytest.mark.parametrize("page", readme_tables.PAGES)
def test_generated_tables_are_up_to_date(page):
    text = (ROOT / page).read_text()
    assert "<!-- table:" in text
    assert readme_tables.refreshed(text, ROOT / "result") == text, "run python -m scripts.run_table --readme"


def test_a_marker_without_its_table_is_refused():
    with pytest.raises(UserError, match="no .*table.md"):
        readme_tables.refreshed("<!-- table:none -->\nold\n<!-- end -->\n", ROOT / "result")
    with pytest.raises(UserError, match="has no <!-- end -->"):
        readme_tables.refreshed("<!-- table:main -->\n", ROOT / "result")


def test_the_rows_of_the_readme_match_result():
    with (ROOT / "result/main/table.csv").open(newline="") as file:
        cells = {line["row"]: line for line in csv.DictReader(file) if line["column"] == "resnet56 > resnet20"}
    rows = re.findall(r"^\| (Student|KD, T=4|MIXSTD \+ [FP]MU) \| ([\d.]+) \| ([\d.]*) *\|$", README, re.MULTILINE)
    assert len(rows) == 4
    for name, found, published in rows:
        assert (found, published) == (cells[name]["last_top1_mean"], cells[name]["published"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_files_and_modules_exist(page):
    text = page.read_text()
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'href="([^"]+)"', text)]:
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or re.search(rf"^#+ {anchor.replace('-', '[ -]')}$", target.read_text(),
                                           re.IGNORECASE | re.MULTILINE), link
    for module in re.findall(r"-m (scripts\.[\w.]+\w)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module
    for script in re.findall(r"scripts/\w+\.sh", text):
        assert (ROOT / script).exists(), script
