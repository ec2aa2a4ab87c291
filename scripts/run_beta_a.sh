#!/usr/bin/env bash
# MIX-KD: the shape of lambda ~ Beta(a, a)
# One command per line, with the same runs as scripts/tables/beta_a.json (a test compares them).
# Table and pictures: python -m scripts.run_table beta_a
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_beta_a.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh resnet56 wrn_40_2
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet56 > resnet20
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --no-pmixup --beta_a 0.2 --trial 1,2,3 --resume auto "$@"  # FMU, a=0.2
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --no-pmixup --beta_a 0.4 --trial 1,2,3 --resume auto "$@"  # FMU, a=0.4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --no-pmixup --beta_a 1.0 --trial 1,2,3 --resume auto "$@"  # FMU, a=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --beta_a 0.2 --trial 1,2,3 --resume auto "$@"  # PMU, a=0.2
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --beta_a 0.4 --trial 1,2,3 --resume auto "$@"  # PMU, a=0.4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --beta_a 1.0 --trial 1,2,3 --resume auto "$@"  # PMU, a=1

# wrn_40_2 > wrn_16_2
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --no-pmixup --beta_a 0.2 --trial 1,2,3 --resume auto "$@"  # FMU, a=0.2
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --no-pmixup --beta_a 0.4 --trial 1,2,3 --resume auto "$@"  # FMU, a=0.4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --no-pmixup --beta_a 1.0 --trial 1,2,3 --resume auto "$@"  # FMU, a=1
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --beta_a 0.2 --trial 1,2,3 --resume auto "$@"  # PMU, a=0.2
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --beta_a 0.4 --trial 1,2,3 --resume auto "$@"  # PMU, a=0.4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --beta_a 1.0 --trial 1,2,3 --resume auto "$@"  # PMU, a=1
