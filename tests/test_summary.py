"""The table of finished runs and its picture: figures, curves, and errors for damaged runs and odd names."""
import json
import shutil

import pytest

from scripts import summary
from tests.support.small_runs import assert_refused, call


@pytest.fixture
def save(tmp_path):
    folder = tmp_path / "save" / "models" / "resnet8_digits"
    folder.mkdir(parents=True)
    (folder / "args.json").write_text(json.dumps({"config": {"model": "resnet8", "mix": "none", "trial": "0"}}))
    (folder / "summary.json").write_text(json.dumps({"epochs": 2, "last_top1": 20.0, "best_top1": 20.0, "best_epoch": 2,
                                                     "wall_time_s": 3.0}))
    (folder / "log.csv").write_text("stage,epoch,test_acc\nmain,1,10.0\nmain,2,20.0\n")
    return tmp_path / "save"


def test_table_and_picture(save, tmp_path):
    done = call(summary.main, ["--save_dir", save, "--picture", tmp_path / "new" / "curves.png"])
    assert done.status == 0 and "resnet8 alone, no mixing      1  20.00  " in done.out, done.err
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_are_shown_as_mean_and_deviation(save, tmp_path):
    first, = save.glob("models/*")
    for trial, last in (("1", 21.0), ("2", 25.0)):
        folder = shutil.copytree(first, first.with_name(f"{first.name}_{trial}"))
        for name, old, new in (("args.json", '"trial": "0"', f'"trial": "{trial}"'),
                               ("summary.json", "20.0", str(last))):
            (folder / name).write_text((folder / name).read_text().replace(old, new))
    done = call(summary.main, ["--save_dir", save, "--picture", tmp_path / "curves.png"])
    assert done.status == 0 and "resnet8 alone, no mixing      3  22.00 ± 2.65" in done.out, done.err
    assert done.out.count("alone, no mixing") == 1


def test_invalid_pictures_and_damaged_logs_are_refused_in_one_line(save, tmp_path):
    done = call(summary.main, ["--save_dir", save, "--picture", tmp_path / "x.foo"])
    assert_refused(done, "--picture", "ends in .png")
    done = call(summary.main, ["--save_dir", save, "--picture", tmp_path])
    assert done.status == 2 and "is a folder" in done.err and not list(tmp_path.glob("*.png"))
    (tmp_path / "file").touch()
    done = call(summary.main, ["--save_dir", save, "--picture", tmp_path / "file" / "x.png"])
    assert_refused(done, "--picture", "another file")
    log, = save.glob("models/*/log.csv")
    log.write_text("stage,epoch,test_acc\nmain,1,much\n")
    assert_refused(call(summary.main, ["--save_dir", save, "--picture", tmp_path / "x.png"]), log, "damaged")
