#!/usr/bin/env bash
# Set up as quickstart.sh does and run the tests; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
"$PYTHON" -m pytest "$@"
