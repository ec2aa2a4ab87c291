"""The report page: escaped names, links that exist, failed runs, damaged files."""
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
    argv = [table_runs.small_table(tmp_path, title=EVIL, rows=rows), "--save_dir", tmp_path / "save"]
    for more in ([], ["--epochs", "24"]):
        plan = table_runs.make_plan([*argv, *more])
        folder = table_runs.finish(plan, table_runs.run_of(plan, EVIL), "1", 41.25 if more else 77.5)
        evil = folder.rename(folder.with_name(f"{folder.name}{EVIL}"))
        (evil / "curves.png").write_bytes(b"png")
        plan = table_runs.make_plan([*argv, *more])
        target = tmp_path / "result" / "small" / plan.size.folder
        plots.draw(plan.table, plan.size, render.write(plan, target, {EVIL: "the disk | is full"}), target)
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
    assert text.count("Failed in the last attempt") == 2 and text.count("the disk | is full") == 2


@pytest.mark.parametrize("name, text", [("x.csv", "a\n" + "1" * 200_000), ("table.csv", "a,b\n1,2\n")])
def test_a_damaged_table_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert_refused(call(report.main, ["--out", tmp_path, "--save_dir", tmp_path / "save"]), name, "move it away")
