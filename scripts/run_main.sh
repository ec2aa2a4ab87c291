#!/usr/bin/env bash
# MIX-KD: distillation under full and partial mixup
# One command per line, with the same runs as scripts/tables/main.json (a test compares them).
# Table and pictures: python -m scripts.run_table main
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_main.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh resnet56 wrn_40_2 resnet110 resnet32x4 vgg13
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet56 > resnet20
"$PYTHON" train_teacher.py --model resnet20 --trial 1,2,3 --resume auto "$@"  # Student
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --no-pmixup --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU

# wrn_40_2 > wrn_16_2
"$PYTHON" train_teacher.py --model wrn_16_2 --trial 1,2,3 --resume auto "$@"  # Student
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --no-pmixup --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU

# resnet110 > resnet32
"$PYTHON" train_teacher.py --model resnet32 --trial 1,2,3 --resume auto "$@"  # Student
resnet110=$(teacher resnet110)
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --no-pmixup --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU

# resnet110 > resnet20
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --no-pmixup --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU

# wrn_40_2 > wrn_40_1
"$PYTHON" train_teacher.py --model wrn_40_1 --trial 1,2,3 --resume auto "$@"  # Student
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill kd --no-pmixup --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill kd --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill kd --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill kd --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU

# resnet32x4 > resnet8x4
"$PYTHON" train_teacher.py --model resnet8x4 --trial 1,2,3 --resume auto "$@"  # Student
resnet32x4=$(teacher resnet32x4)
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill kd --no-pmixup --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill kd --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill kd --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill kd --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU

# vgg13 > vgg8
"$PYTHON" train_teacher.py --model vgg8 --trial 1,2,3 --resume auto "$@"  # Student
vgg13=$(teacher vgg13)
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill kd --no-pmixup --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill kd --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill kd --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + FMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill kd --kd_T 1 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill mixstd --no-pmixup --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU
