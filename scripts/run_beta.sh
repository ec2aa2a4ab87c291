#!/usr/bin/env bash
# The shape of lambda ~ Beta(a, a), under full and partial mixup. Table: python -m scripts.run_table beta_a.
# Arguments go to every command.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

for pair in "resnet56 resnet20" "wrn_40_2 wrn_16_2"; do
  choose "$pair"
  for a in 0.2 0.4 1.0; do
    distil --no-pmixup --beta_a "$a" "$@"
    distil --beta_a "$a" "$@"
  done
done
