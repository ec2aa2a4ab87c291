#!/usr/bin/env bash
# The analyses of a teacher and its students: accuracy, robustness, t-SNE, calibration. Name your checkpoints here.
# Other arguments go to every command, as in: scripts/run_analyses.sh --limit 1000 --device cpu
set -euo pipefail
cd "$(dirname "$0")/.."

TEACHER=${TEACHER:-save/models/resnet56_vanilla/ckpt_epoch_240.pth}
STUDENTS=${STUDENTS:-"save/student_model/kd/resnet20_last.pth save/student_model/mixstd/resnet20_last.pth"}
DATASET=${DATASET:-cifar100}
DATA_DIR=${DATA_DIR:-data}
CLASSES=${CLASSES:-0,1,2}  # of the t-SNE
OUT=${OUT:-result}

. scripts/environment.sh
data=(--dataset "$DATASET" --data_dir "$DATA_DIR" "$@")
read -ra students <<< "$STUDENTS"
paths=("$TEACHER" "${students[@]}")
for path in "${paths[@]}"; do
  "$PYTHON" -m scripts.evaluate --path "$path" "${data[@]}"
done
"$PYTHON" -m scripts.robustness --paths "${paths[@]}" --out "$OUT/robustness" "${data[@]}"
"$PYTHON" -m scripts.tsne --paths "${paths[@]}" --classes "$CLASSES" --out "$OUT/tsne" "${data[@]}"
"$PYTHON" -m scripts.calibration --paths "${paths[@]}" --out "$OUT/calibration" "${data[@]}"
