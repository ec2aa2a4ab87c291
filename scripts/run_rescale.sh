#!/usr/bin/env bash
# Logits divided by their standard deviation in other methods, off and on, under partial mixup.
# Table: python -m scripts.run_table rescale. Arguments go to every command.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

for pair in "resnet56 resnet20" "wrn_40_2 wrn_16_2"; do
  choose "$pair"
  for method in kd hint attention similarity correlation vid rkd pkt nst kdsvd crd; do
    distil --distill "$method" --rescale none "$@"
    distil --distill "$method" --rescale std "$@"
  done
done
