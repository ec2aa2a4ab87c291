"""Reading a run's folder: complete, missing, damaged."""
import json

import pytest

from helper import files
from helper.stored_runs import StoredRun


def write_run(folder):
    config = {"model": "resnet8", "epochs": 2}
    summary = {"epochs": 2, "last_top1": 10.0, "best_top1": 11.5, "best_epoch": 1, "wall_time_s": 6.0}
    files.save_json({"config": config, "command": ["python", "x"], "environment": {"torch": "2"}}, folder / "args.json")
    files.save_json(summary, folder / "summary.json")
    rows = [{"stage": "main", "epoch": n, "train_loss": 1.5, "seconds": 3} for n in (1, 2)]
    files.save_csv(rows, ["stage", "epoch", "train_loss", "test_acc"], folder / "log.csv")
    return config, summary


def test_values_are_read_as_they_were_written(tmp_path):
    config, summary = write_run(tmp_path)
    run = StoredRun(tmp_path)
    assert (run.config, run.summary, run.command) == (config, summary, ["python", "x"])
    assert run.environment == {"torch": "2"} and run.timing == []
    assert run.log[1] == {"stage": "main", "epoch": "2", "train_loss": "1.5", "test_acc": ""}
    assert run.status == "a finished run"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, json.dumps({"config": 3}).encode()])
def test_damaged_files_are_read_as_empty(tmp_path, content):
    write_run(tmp_path)
    for name in ("args.json", "summary.json"):
        (tmp_path / name).write_bytes(content)
    run = StoredRun(tmp_path)
    assert run.config == run.summary == run.environment == {} and run.command == []
    (tmp_path / "timing.csv").write_text("stage,epoch,images_per_s\nmain,1,12\nmain,2,1x\n")
    assert run.images_per_s is None


@pytest.mark.parametrize("teacher_top1", ["70", None, -1.0, 101, float("nan")])
def test_a_summary_with_an_invalid_teacher_accuracy_is_empty(tmp_path, teacher_top1):
    _, summary = write_run(tmp_path)
    for value, found in ((72.5, {**summary, "teacher_top1": 72.5}), (teacher_top1, {})):
        files.save_json({**summary, "teacher_top1": value}, tmp_path / "summary.json")
        assert StoredRun(tmp_path).summary == found
