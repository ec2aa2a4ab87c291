#!/usr/bin/env bash
# Mixup against CutMix, full and partial
# One command per line, with the same runs as scripts/tables/cutmix.json (a test compares them).
# Table and pictures: python -m scripts.run_table cutmix
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_cutmix.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh resnet56 wrn_40_2 resnet110
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet56 > resnet20
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --mix none --trial 1,2,3 --resume auto "$@"  # no mixing
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --mix mixup --no-pmixup --trial 1,2,3 --resume auto "$@"  # mixup, full
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --mix mixup --trial 1,2,3 --resume auto "$@"  # mixup, partial
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --mix cutmix --no-pmixup --trial 1,2,3 --resume auto "$@"  # CutMix, full
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --mix cutmix --trial 1,2,3 --resume auto "$@"  # CutMix, partial

# wrn_40_2 > wrn_16_2
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --mix none --trial 1,2,3 --resume auto "$@"  # no mixing
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --mix mixup --no-pmixup --trial 1,2,3 --resume auto "$@"  # mixup, full
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --mix mixup --trial 1,2,3 --resume auto "$@"  # mixup, partial
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --mix cutmix --no-pmixup --trial 1,2,3 --resume auto "$@"  # CutMix, full
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --mix cutmix --trial 1,2,3 --resume auto "$@"  # CutMix, partial

# resnet110 > resnet32
resnet110=$(teacher resnet110)
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill mixstd --mix none --trial 1,2,3 --resume auto "$@"  # no mixing
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill mixstd --mix mixup --no-pmixup --trial 1,2,3 --resume auto "$@"  # mixup, full
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill mixstd --mix mixup --trial 1,2,3 --resume auto "$@"  # mixup, partial
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill mixstd --mix cutmix --no-pmixup --trial 1,2,3 --resume auto "$@"  # CutMix, full
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill mixstd --mix cutmix --trial 1,2,3 --resume auto "$@"  # CutMix, partial
