#!/usr/bin/env bash
# ImageNet
# One command per line, with the same runs as scripts/tables/imagenet.json (a test compares them).
# Table and pictures: python -m scripts.run_table imagenet --data_dir DIR
# Copy a line and edit it, or give flags that go to every command: bash scripts/run_imagenet.sh --data_dir DIR
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet34 > resnet18
"$PYTHON" train_teacher.py --model resnet18 --dataset imagenet --trial 1 --resume auto "$@"  # Student
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill kd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill attention --mix none --dataset imagenet --trial 1 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill crd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill dkd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill reviewkd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # ReviewKD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill mixstd --mix mixup --no-pmixup --dataset imagenet --trial 1 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill mixstd --mix mixup --dataset imagenet --trial 1 --resume auto "$@"  # MIXSTD + PMU
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet34 --model_t resnet34 --model_s resnet18 --distill kd --mix cutmix --no-pmixup --dataset imagenet --trial 1 --resume auto "$@"  # KD + CutMix

# resnet50 > mobilenet_v1
"$PYTHON" train_teacher.py --model mobilenet_v1 --dataset imagenet --trial 1 --resume auto "$@"  # Student
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill kd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill attention --mix none --dataset imagenet --trial 1 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill crd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill dkd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill reviewkd --mix none --dataset imagenet --trial 1 --resume auto "$@"  # ReviewKD
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill mixstd --mix mixup --no-pmixup --dataset imagenet --trial 1 --resume auto "$@"  # MIXSTD + FMU
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill mixstd --mix mixup --dataset imagenet --trial 1 --resume auto "$@"  # MIXSTD + PMU
"$PYTHON" train_student_mixstd.py --path_t torchvision:resnet50 --model_t resnet50 --model_s mobilenet_v1 --distill kd --mix cutmix --no-pmixup --dataset imagenet --trial 1 --resume auto "$@"  # KD + CutMix
