#!/usr/bin/env bash
# Logits divided by their standard deviation, in other methods
# One command per line, with the same runs as scripts/tables/rescale.json (a test compares them).
# Table and pictures: python -m scripts.run_table rescale
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_rescale.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh resnet56 wrn_40_2
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet56 > resnet20
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --trial 1,2,3 --resume auto "$@"  # KD, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --rescale std --trial 1,2,3 --resume auto "$@"  # KD, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill hint --mix mixup --trial 1,2,3 --resume auto "$@"  # FitNet, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill hint --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # FitNet, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill attention --mix mixup --trial 1,2,3 --resume auto "$@"  # AT, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill attention --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # AT, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill similarity --mix mixup --trial 1,2,3 --resume auto "$@"  # SP, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill similarity --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # SP, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill correlation --mix mixup --trial 1,2,3 --resume auto "$@"  # CC, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill correlation --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # CC, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill vid --mix mixup --trial 1,2,3 --resume auto "$@"  # VID, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill vid --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # VID, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill rkd --mix mixup --trial 1,2,3 --resume auto "$@"  # RKD, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill rkd --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # RKD, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill pkt --mix mixup --trial 1,2,3 --resume auto "$@"  # PKT, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill pkt --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # PKT, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill nst --mix mixup --trial 1,2,3 --resume auto "$@"  # NST, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill nst --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # NST, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kdsvd --mix mixup --trial 1,2,3 --resume auto "$@"  # KDSVD, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kdsvd --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # KDSVD, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill crd --mix mixup --trial 1,2,3 --resume auto "$@"  # CRD, plain
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill crd --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # CRD, rescaled

# wrn_40_2 > wrn_16_2
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --trial 1,2,3 --resume auto "$@"  # KD, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --rescale std --trial 1,2,3 --resume auto "$@"  # KD, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill hint --mix mixup --trial 1,2,3 --resume auto "$@"  # FitNet, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill hint --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # FitNet, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill attention --mix mixup --trial 1,2,3 --resume auto "$@"  # AT, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill attention --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # AT, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill similarity --mix mixup --trial 1,2,3 --resume auto "$@"  # SP, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill similarity --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # SP, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill correlation --mix mixup --trial 1,2,3 --resume auto "$@"  # CC, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill correlation --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # CC, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill vid --mix mixup --trial 1,2,3 --resume auto "$@"  # VID, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill vid --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # VID, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill rkd --mix mixup --trial 1,2,3 --resume auto "$@"  # RKD, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill rkd --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # RKD, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill pkt --mix mixup --trial 1,2,3 --resume auto "$@"  # PKT, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill pkt --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # PKT, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill nst --mix mixup --trial 1,2,3 --resume auto "$@"  # NST, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill nst --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # NST, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kdsvd --mix mixup --trial 1,2,3 --resume auto "$@"  # KDSVD, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kdsvd --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # KDSVD, rescaled
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill crd --mix mixup --trial 1,2,3 --resume auto "$@"  # CRD, plain
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill crd --rescale std --mix mixup --trial 1,2,3 --resume auto "$@"  # CRD, rescaled
