#!/usr/bin/env bash
# From a fresh clone to a distilled student in minutes, on any machine: handwritten digits, nothing to download.
# Run it again and it shows the table of the runs it finds; SAVE=... chooses another folder.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
SAVE=${SAVE:-save/quickstart}
common=(--dataset digits --epochs 15 --lr_decay_epochs 9,13 --save_dir "$SAVE" --print_freq 1000 --resume auto)

echo "==> teacher: resnet20"
"$PYTHON" train_teacher.py --model resnet20 "${common[@]}"
teacher=$("$PYTHON" -m scripts.summary --save_dir "$SAVE" --find resnet20_digits)
echo "==> the student alone: resnet8"
"$PYTHON" train_teacher.py --model resnet8 "${common[@]}"
echo "==> the student distilled with MIXSTD and partial mixup"
"$PYTHON" train_student_mixstd.py --path_t "$teacher/resnet20_last.pth" --model_s resnet8 "${common[@]}"
echo
"$PYTHON" -m scripts.summary --save_dir "$SAVE" --picture "$SAVE/curves.png"
