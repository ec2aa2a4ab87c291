"""The report page: escaped names, links that exist, failed runs, damaged files."""
import base64
import html
import re
import urllib.parse

import pytest

from scripts import report
from scripts.table import plots, render
from tests.support import table_runs
from tests.support.small_runs import assert_refused, call

EVIL = "<img src=x onerror=alert(1)>&\"'"


def page(tmp_path):
    done = call(report.main, ["--out", tmp_path / "result", "--save_dir", tmp_path / "save"])
    assert done.status == 0, done.err
    return (tmp_path / "result" / "report.html").read_text()


def test_the_report_escapes_names_and_needs_no_network(tmp_path):
    rows = [{"name": EVIL, "flags": "--distill kd --mix none"}]
    argv = [table_runs.small_table(tmp_path, title=EVIL, rows=rows), "--save_dir", tmp_path / "save", "--out",
            tmp_path / "result"]
    for more in ([], ["--epochs", "24"]):
        plan = table_runs.make_plan([*argv, *more])
        folder = table_runs.finish(plan, table_runs.run_of(plan, EVIL), "1", 41.25 if more else 77.5)
        evil = folder.rename(folder.with_name(f"{folder.name}{EVIL}"))
        (evil / "curves.png").write_bytes(b"png")
        plan = table_runs.make_plan([*argv, *more])
        plots.draw(plan.table, plan.size, render.write(plan, {EVIL: "the disk | is full"}), plan.folder)
        summary = evil / "summary.json"  # trained once more: its record stays that of the first time
        summary.write_text(summary.read_text().replace('"wall_time_s": 9.0', '"wall_time_s": 8.0'))
    (tmp_path / "result" / f"tsne {EVIL}").mkdir()
    (tmp_path / "result" / f"tsne {EVIL}" / "points.csv").write_text(f"x,{EVIL}\n1,2\n")
    text = page(tmp_path)
    assert "<img src=x" not in text and "&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;" in text
    assert not re.search(r"(src|href)=\"(https?:)?//", text) and "<script" not in text and "@import" not in text
    for reference in re.findall(r'(?:src|href)="([^"#][^"]*)"', text):
        if not reference.startswith("data:image/png;base64,"):
            assert (tmp_path / "result" / urllib.parse.unquote(html.unescape(reference))).exists(), reference
    full, reduced = (text.index(f"Runs: distilled students{end}") for end in (" (1)</h2>", ", reduced (1)</summary>"))
    assert text.count(">kd, resnet14 &gt; resnet8, no mixing, seed 1</figcaption>") == 2  # not the folder's name
    assert full < text.index("<td class=\"number\">77.50", full) < reduced < text.index(">41.25<", reduced)
    assert text.count("<h2>Failed</h2>") == 2 and text.count("the disk | is full") == 2
    assert text.count("<td>77.50 (n=1)") == text.count("<td>41.25 (n=1)") == 1  # the tables of table.md


def test_a_table_is_shown_with_its_comparisons_and_pictures(tmp_path):
    folder = tmp_path / "result" / "mine"
    folder.mkdir(parents=True)
    for name in ("a.png", "other.png"):
        (folder / name).write_bytes(name.encode())
    (folder / "table.csv").write_text("row\nKD\n")
    (folder / "table.md").write_text("# Mine\n\n| row | KD |\n| --- | --- |\n| KD<br><b>70</b> | **yes** |\n\n"
                                     "<!-- cells -->\n[all](table.csv)\n\n![a](a.png)\n")
    text = page(tmp_path)
    assert "<td>KD<br>&lt;b&gt;70&lt;/b&gt;</td>" in text and "<strong>yes</strong>" in text and "cells" not in text
    assert [base64.b64decode(source) for source in re.findall(r"base64,([^\"]+)", text)] == [b"a.png", b"other.png"]
    assert 'href="mine/table.csv">all' in text


def test_a_foreign_text_embeds_nothing_from_elsewhere(tmp_path):
    folder = tmp_path / "result" / "foreign"
    folder.mkdir(parents=True)
    for file in (tmp_path / "secret.png", folder / "own.txt"):
        file.write_text("secret")
    pictures = ["https://example.org/x.png", "../../secret.png", "own.txt", "gone.png", f"{'x' * 5000}.png"]
    (folder / "table.md").write_text("# Foreign\n\n" + "".join(f"![text {i}]({to})\n" for i, to in enumerate(pictures))
                                     + "[dead](gone.md) [away](https://example.org) <script>\n")
    text = page(tmp_path)
    assert "<img" not in text and "<script" not in text and all(f"text {i}" in text for i in range(len(pictures)))
    assert "<a>dead</a>" in text and '<a href="https://example.org">away</a>' in text


@pytest.mark.parametrize("above", [False, True])
def test_a_reduced_folder_without_a_text_stays_folded(tmp_path, above):
    folder = tmp_path / "result" / "mine" / "reduced-epochs=4"
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text("row,reduced_last_top1_mean\nKD,41.25\n")
    if above:
        (folder.parent / "table.md").write_text("# Mine\n")
    text = page(tmp_path)
    assert ("<h2>Mine</h2>" in text) == above
    assert text.index("Reduced and unfinished (1)</h2>") < text.index("<summary>mine/reduced-epochs=4<")


def test_a_damaged_csv_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a\n" + "1" * 200_000)
    assert_refused(call(report.main, ["--out", tmp_path, "--save_dir", tmp_path / "save"]), "x.csv", "move it away")
