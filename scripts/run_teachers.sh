#!/usr/bin/env bash
# The networks alone
# One command per line, with the same runs as scripts/tables/teachers.json (a test compares them).
# Table and pictures: python -m scripts.run_table teachers
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_teachers.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet56
"$PYTHON" train_teacher.py --model resnet56 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model resnet56 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# resnet110
"$PYTHON" train_teacher.py --model resnet110 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model resnet110 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# wrn_40_2
"$PYTHON" train_teacher.py --model wrn_40_2 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model wrn_40_2 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# vgg13
"$PYTHON" train_teacher.py --model vgg13 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model vgg13 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# resnet32x4
"$PYTHON" train_teacher.py --model resnet32x4 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model resnet32x4 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# ResNet50
"$PYTHON" train_teacher.py --model ResNet50 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model ResNet50 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# wrn_16_2
"$PYTHON" train_teacher.py --model wrn_16_2 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model wrn_16_2 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# wrn_40_1
"$PYTHON" train_teacher.py --model wrn_40_1 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model wrn_40_1 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# resnet20
"$PYTHON" train_teacher.py --model resnet20 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model resnet20 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# resnet32
"$PYTHON" train_teacher.py --model resnet32 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model resnet32 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# resnet8x4
"$PYTHON" train_teacher.py --model resnet8x4 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model resnet8x4 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# vgg8
"$PYTHON" train_teacher.py --model vgg8 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model vgg8 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# MobileNetV2
"$PYTHON" train_teacher.py --model MobileNetV2 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model MobileNetV2 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# ShuffleV1
"$PYTHON" train_teacher.py --model ShuffleV1 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model ShuffleV1 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup

# ShuffleV2
"$PYTHON" train_teacher.py --model ShuffleV2 --trial 0 --resume auto "$@"  # alone
"$PYTHON" train_teacher.py --model ShuffleV2 --mix mixup --no-pmixup --trial 0 --resume auto "$@"  # with full mixup
