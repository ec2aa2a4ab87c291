#!/usr/bin/env bash
# Where mixup helps: in neither network, in the teacher (Mix-T), in the student (Mix-S), in both (Mix-T&S), at T=4 and
# T=1, for 25 pairs of ResNets. Table and surfaces: python -m scripts.run_table augmentation.
# Arguments go to every student's command. DEPTHS="20 32" takes fewer networks.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

read -r -a depths <<< "${DEPTHS:-20 32 44 56 110}"
for depth in "${depths[@]}"; do
  "$PYTHON" train_teacher.py --model "resnet$depth" --resume auto
  "$PYTHON" train_teacher.py --model "resnet$depth" --mix mixup --no-pmixup --resume auto
done
for t in "${depths[@]}"; do
  plain=$(trained "resnet$t") mixed=$(trained "resnet$t" _mix=mixup_pmixup=False)
  for s in "${depths[@]}"; do
    student=resnet$s
    for T in 4 1; do
      path_t=$plain distil --distill kd --kd_T "$T" --mix none "$@"
      path_t=$mixed distil --distill kd --kd_T "$T" --mix none "$@"
      path_t=$plain distil --distill kd --kd_T "$T" --mix mixup --no-pmixup "$@"
      path_t=$mixed distil --distill kd --kd_T "$T" --mix mixup --no-pmixup "$@"
    done
  done
done
