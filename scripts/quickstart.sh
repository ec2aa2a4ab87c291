#!/usr/bin/env bash
# From a fresh clone to distilled students in minutes, on any machine: handwritten digits, nothing to download. The
# teacher is trained on all 1,437 images; the students have a tenth of them, where a teacher helps most.
# A second call prints the table of the finished runs; SAVE=... chooses another folder.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
SAVE=${SAVE:-save/quickstart}
common=(--dataset digits --save_dir "$SAVE" --print_freq 1000 --resume auto)
few=("${common[@]}" --train_fraction 0.1 --batch_size 16 --epochs 40 --lr_decay_epochs 25,35 --trial 1,2,3)

echo "==> teacher: resnet20, all images"
"$PYTHON" train_teacher.py --model resnet20 --epochs 15 --lr_decay_epochs 9,13 "${common[@]}"
teacher=$("$PYTHON" -m scripts.summary --save_dir "$SAVE" --find resnet20_digits)/resnet20_last.pth
echo "==> the student alone: resnet8, a tenth of the images, three seeds"
"$PYTHON" train_teacher.py --model resnet8 "${few[@]}"
echo "==> the same students distilled with KD"
"$PYTHON" train_student_mixstd.py --distill kd --mix none --path_t "$teacher" --model_s resnet8 "${few[@]}"
echo "==> distilled with KD and partial mixup"
"$PYTHON" train_student_mixstd.py --distill kd --path_t "$teacher" --model_s resnet8 "${few[@]}"
echo
"$PYTHON" -m scripts.summary --save_dir "$SAVE" --picture "$SAVE/curves.png"
