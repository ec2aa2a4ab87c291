#!/usr/bin/env bash
# MIX-KD's main comparison: KD without mixing, KD under full (FMU) and partial (PMU) mixup at T=4 and T=1, and MIXSTD
# under both. Table: python -m scripts.run_table main. Arguments go to every command, as --trial 1 --epochs 60.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

for pair in "resnet56 resnet20" "wrn_40_2 wrn_16_2" "resnet110 resnet32" "resnet110 resnet20" "wrn_40_2 wrn_40_1" \
            "resnet32x4 resnet8x4" "vgg13 vgg8"; do
  choose "$pair"
  distil --distill kd --mix none "$@"
  for T in 4 1; do
    distil --distill kd --kd_T "$T" --no-pmixup "$@"
    distil --distill kd --kd_T "$T" --partmixup 0.9 "$@"
  done
  distil --distill mixstd --no-pmixup "$@"
  distil --distill mixstd --partmixup 0.9 "$@"
done
