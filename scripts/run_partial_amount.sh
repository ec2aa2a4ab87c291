#!/usr/bin/env bash
# The amount of partial mixup, 10 to 100 %, with the original's sampling (which mixes more, see --pmu_sampling) and
# with exact sampling. Table and curves: python -m scripts.run_table partial_amount. Arguments go to every command.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

for pair in "resnet56 resnet20" "wrn_40_2 wrn_16_2"; do
  choose "$pair"
  for clean in 0.9 0.8 0.7 0.6 0.5 0.4 0.3 0.2 0.1; do
    distil --partmixup "$clean" --pmu_sampling original "$@"
    distil --partmixup "$clean" --pmu_sampling exact "$@"
  done
  distil --no-pmixup "$@"
done
