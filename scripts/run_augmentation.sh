#!/usr/bin/env bash
# MIX-KD: mixup in the teacher, in the student, in both, at two temperatures
# One command per line, with the same runs as scripts/tables/augmentation.json (a test compares them).
# Table and pictures: python -m scripts.run_table augmentation
# Copy a line and edit it, or give flags for all that end in "$@" (teachers don't): bash scripts/run_augmentation.sh --trial 1
# Its teachers come first: bash scripts/run_cifar_vanilla.sh resnet20 resnet32 resnet44 resnet56 resnet110
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet20 > resnet20
resnet20=$(teacher resnet20)
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_teacher.py --model resnet20 --mix mixup --no-pmixup --resume auto
resnet20_mix_mixup_no_pmixup=save/models/resnet20_cifar100_lr_0.05_decay_0.0005_trial_0_mix=mixup_pmixup=False/resnet20_last.pth
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet20 > resnet32
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet20 > resnet44
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet20 > resnet56
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet20 > resnet110
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20" --model_t resnet20 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet20_mix_mixup_no_pmixup" --model_t resnet20 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet32 > resnet20
resnet32=$(teacher resnet32)
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_teacher.py --model resnet32 --mix mixup --no-pmixup --resume auto
resnet32_mix_mixup_no_pmixup=save/models/resnet32_cifar100_lr_0.05_decay_0.0005_trial_0_mix=mixup_pmixup=False/resnet32_last.pth
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet32 > resnet32
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet32 > resnet44
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet32 > resnet56
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet32 > resnet110
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32" --model_t resnet32 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet32_mix_mixup_no_pmixup" --model_t resnet32 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet44 > resnet20
resnet44=$(teacher resnet44)
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_teacher.py --model resnet44 --mix mixup --no-pmixup --resume auto
resnet44_mix_mixup_no_pmixup=save/models/resnet44_cifar100_lr_0.05_decay_0.0005_trial_0_mix=mixup_pmixup=False/resnet44_last.pth
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet44 > resnet32
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet44 > resnet44
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet44 > resnet56
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet44 > resnet110
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44" --model_t resnet44 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet44_mix_mixup_no_pmixup" --model_t resnet44 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet56 > resnet20
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_teacher.py --model resnet56 --mix mixup --no-pmixup --resume auto
resnet56_mix_mixup_no_pmixup=save/models/resnet56_cifar100_lr_0.05_decay_0.0005_trial_0_mix=mixup_pmixup=False/resnet56_last.pth
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet56 > resnet32
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet56 > resnet44
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet56 > resnet56
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet56 > resnet110
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet56_mix_mixup_no_pmixup" --model_t resnet56 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet110 > resnet20
resnet110=$(teacher resnet110)
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_teacher.py --model resnet110 --mix mixup --no-pmixup --resume auto
resnet110_mix_mixup_no_pmixup=save/models/resnet110_cifar100_lr_0.05_decay_0.0005_trial_0_mix=mixup_pmixup=False/resnet110_last.pth
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet20 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet20 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet20 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet110 > resnet32
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet32 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet32 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet32 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet110 > resnet44
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet44 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet44 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet44 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet110 > resnet56
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet56 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet56 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet56 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1

# resnet110 > resnet110
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # none, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # none, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet110 --distill kd --mix none --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet110 --distill kd --mix none --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-S, T=1
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 4 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=4
"$PYTHON" train_student_mixstd.py --path_t "$resnet110_mix_mixup_no_pmixup" --model_t resnet110 --model_s resnet110 --distill kd --mix mixup --no-pmixup --kd_T 1 --trial 1,2,3 --resume auto "$@"  # Mix-T&S, T=1
