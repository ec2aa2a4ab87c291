#!/usr/bin/env bash
# MIX-KD: the amount of partial mixup
# One command per line, with the same runs as scripts/tables/partial_amount.json (a test compares them).
# Table and pictures: python -m scripts.run_table partial_amount
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_partial_amount.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh resnet56 wrn_40_2
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet56 > resnet20
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.9 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 10 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.8 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 20 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.7 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 30 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.6 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 40 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.5 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 50 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.4 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 60 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.3 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 70 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.2 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 80 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.1 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 90 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # original, 100 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.9 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 10 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.8 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 20 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.7 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 30 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.6 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 40 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.5 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 50 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.4 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 60 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.3 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 70 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.2 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 80 %
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --partmixup 0.1 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 90 %

# wrn_40_2 > wrn_16_2
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.9 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 10 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.8 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 20 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.7 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 30 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.6 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 40 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.5 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 50 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.4 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 60 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.3 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 70 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.2 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 80 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.1 --pmu_sampling original --trial 1,2,3 --resume auto "$@"  # original, 90 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # original, 100 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.9 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 10 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.8 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 20 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.7 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 30 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.6 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 40 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.5 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 50 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.4 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 60 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.3 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 70 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.2 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 80 %
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --partmixup 0.1 --pmu_sampling exact --trial 1,2,3 --resume auto "$@"  # exact, 90 %
