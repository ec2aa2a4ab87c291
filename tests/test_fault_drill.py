"""The fault drill, python -m tests.faults, in its short form."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_quick_drill_loses_nothing():
    command = [sys.executable, "-m", "tests.faults", "--quick"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    tried, survived, lost = map(int, re.search(r"^all +(\d+) +(\d+) +(\d+)$", done.stdout, re.M).groups())
    assert tried == survived >= 28 and lost == 0
    assert int(re.search(r"^(\d+) kills", done.stdout, re.M).group(1)) >= 12
