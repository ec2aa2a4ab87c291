"""scripts/bench/device.sh on the CPU, so that errors are found before it runs on a GPU."""
import json
import subprocess

import pytest
import torch

from scripts.bench import device
from tests.support.small_runs import call
from tests.support.tiny import ROOT
from tests.test_device import arithmetic  # noqa: F401 - a fixture

# Replaces python: records its arguments, fails in one experiment.
STUB = """#!/bin/sh
echo "$@" >> "$NOTED"
[ "$3" != profile ] || exit 7
echo "{\\"experiment\\": \\"$3\\"}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """(arguments of the script's commands, its rows of results)."""
    folder = tmp_path_factory.mktemp("device")
    stub, noted = folder / "python", folder / "noted"
    stub.write_text(STUB)
    stub.chmod(0o755)
    words = ["--device", "cpu", "--steps", "2", "--rounds", "1", "--pair", "resnet8:resnet8", "--batch_size", "4"]
    subprocess.run(["bash", "scripts/bench/device.sh", folder, *words], cwd=ROOT, check=True, timeout=60,
                   env={"PATH": "/usr/bin:/bin", "PYTHON": str(stub), "NOTED": str(noted)}, stdout=subprocess.DEVNULL)
    return ([line.split() for line in noted.read_text().splitlines()],
            [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()])


def test_every_command_writes_a_row_and_a_failure_does_not_stop_the_others(script):
    commands, rows = script
    assert all(command[:2] == ["-m", "scripts.bench.device"] for command in commands)
    experiments = [row["experiment"] for row in rows]
    assert experiments[0] == experiments[-1] == "base" and {"card", "profile", "lanes", "epochs"} <= {*experiments}
    assert [row["experiment"] for row in rows if row.get("failed") == 7] == ["profile"] and len(rows) == len(commands)


@pytest.mark.slow
def test_every_experiment_returns_figures(script, monkeypatch, arithmetic):  # noqa: F811
    monkeypatch.setattr(torch.backends.cudnn, "benchmark_limit", torch.backends.cudnn.benchmark_limit)
    rows = []
    for words in dict.fromkeys(tuple(command[2:]) for command in script[0]):
        done = call(device.main, words)
        assert done.status == 0, done.err
        rows.append(json.loads(done.out.splitlines()[-1]))
    for row in rows:
        if "variant_off" in row:
            assert row["base_off"] == 0  # on the CPU equal to the eager step bit for bit
            assert row["variant_off"] < 1e-3 if "norms" in row["experiment"] else row["variant_off"] == 0
    assert [len(row["trial"]) for row in rows if row["experiment"] == "lanes"] == [1, 3, 8, 16, 1, 3, 8]
