#!/usr/bin/env bash
# From a fresh clone to distilled students in minutes, on any machine: handwritten digits, nothing to download. The
# teacher is trained on all 1,437 images, the students on a tenth of them, so that the teacher has something to add.
# A second call prints the table of the finished runs; SAVE=... chooses another folder.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
SAVE=${SAVE:-save/quickstart}
# one thread: networks this small gain little from more, and lose much where other programs are running
common=(--dataset digits --save_dir "$SAVE" --print_freq 1000 --threads 1 --resume auto)
student=("${common[@]}" --train_fraction 0.1 --batch_size 16 --epochs 80 --lr_decay_epochs 50,70 --trial 1,2,3)

echo "==> teacher: resnet20, all images"
"$PYTHON" train_teacher.py --model resnet20 --epochs 15 --lr_decay_epochs 9,13 "${common[@]}"
teacher=$("$PYTHON" -m scripts.summary --save_dir "$SAVE" --find resnet20_digits)
echo "==> the student alone: resnet8, a tenth of the images, three seeds"
"$PYTHON" train_teacher.py --model resnet8 "${student[@]}"
echo "==> the same students distilled with MIXSTD and partial mixup"
"$PYTHON" train_student_mixstd.py --path_t "$teacher/resnet20_last.pth" --model_s resnet8 "${student[@]}"
echo
"$PYTHON" -m scripts.summary --save_dir "$SAVE" --picture "$SAVE/curves.png"
