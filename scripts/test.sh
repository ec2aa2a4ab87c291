#!/usr/bin/env bash
# Set up as quickstart.sh does and run the tests, as many files at a time as there are cores and one more; arguments go to
# pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # the cores are busy with whole tests
workers=$("$PYTHON" -c 'import os; print(1 + os.cpu_count())') # many tests wait for processes that they start
"$PYTHON" -m pytest -n "$workers" --dist loadfile "$@"
