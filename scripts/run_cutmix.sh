#!/usr/bin/env bash
# Mixup against CutMix, full and partial, and no mixing. Table: python -m scripts.run_table cutmix.
# Arguments go to every command.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

for pair in "resnet56 resnet20" "wrn_40_2 wrn_16_2" "resnet110 resnet32"; do
  choose "$pair"
  distil --mix none "$@"
  for mix in mixup cutmix; do
    distil --mix "$mix" --no-pmixup "$@"
    distil --mix "$mix" "$@"
  done
done
