#!/usr/bin/env bash
# Set up as quickstart.sh does and run the tests, a file at a time on every core; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # the cores are busy with whole tests
"$PYTHON" -m pytest -n auto --dist loadfile "$@"
