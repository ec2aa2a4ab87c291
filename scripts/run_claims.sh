#!/usr/bin/env bash
# The claims of MIX-KD at a reduced size
# One command per line, with the same runs as scripts/tables/claims.json (a test compares them).
# Table and pictures: python -m scripts.run_table claims
# Copy a line and edit it, or give flags for all that end in "$@" (teachers don't): bash scripts/run_claims.sh --trial 1
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet20 > resnet8
"$PYTHON" train_teacher.py --model resnet8 --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # Student
"$PYTHON" train_teacher.py --model resnet8 --mix mixup --no-pmixup --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # Student + FMU
"$PYTHON" train_teacher.py --model resnet20 --epochs 60 --lr_decay_epochs 37,45,52 --resume auto
resnet20=save/models/resnet20_cifar100_lr_0.05_decay_0.0005_trial_0_epochs=60_lr_decay_epochs=37-45-52/resnet20_last.pth
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill kd --mix none --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD, T=4
"$PYTHON" train_teacher.py --model resnet20 --mix mixup --no-pmixup --epochs 60 --lr_decay_epochs 37,45,52 --resume auto
resnet20_mix_mixup_no_pmixup=save/models/resnet20_cifar100_lr_0.05_decay_0.0005_trial_0_epochs=60_lr_decay_epochs=37-45-52_mix=mixup_pmixup=False/resnet20_last.pth
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet8 --distill kd --mix none --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill kd --mix mixup --no-pmixup --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet8 --distill kd --mix mixup --no-pmixup --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill kd --mix mixup --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill kd --mix none --kd_T 1 --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet8 --distill kd --mix none --kd_T 1 --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill kd --mix mixup --no-pmixup --kd_T 1 --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet8 --distill kd --mix mixup --no-pmixup --kd_T 1 --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD Mix-T&S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill kd --mix mixup --kd_T 1 --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # KD + PMU, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill mixstd --mix mixup --no-pmixup --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill mixstd --mix mixup --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # MIXSTD + PMU
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet8 --distill mixstd --mix cutmix --epochs 60 --lr_decay_epochs 37,45,52 --trial 1,2,3 --resume auto "$@"  # MIXSTD + CutMix, partial
