#!/usr/bin/env bash
# RepDistiller, teacher and student of different styles
# One command per line, with the same runs as scripts/tables/repdistiller_cross.json (a test compares them).
# Table and pictures: python -m scripts.run_table repdistiller_cross
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_repdistiller_cross.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh vgg13 ResNet50 resnet32x4 wrn_40_2
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# vgg13 > MobileNetV2
"$PYTHON" train_teacher.py --model MobileNetV2 --trial 1,2,3 --resume auto "$@"  # Student
vgg13=$(teacher vgg13)
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s MobileNetV2 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# ResNet50 > MobileNetV2
ResNet50=$(teacher ResNet50)
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s MobileNetV2 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# ResNet50 > vgg8
"$PYTHON" train_teacher.py --model vgg8 --trial 1,2,3 --resume auto "$@"  # Student
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$ResNet50" --model_t ResNet50 --model_s vgg8 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# resnet32x4 > ShuffleV1
"$PYTHON" train_teacher.py --model ShuffleV1 --trial 1,2,3 --resume auto "$@"  # Student
resnet32x4=$(teacher resnet32x4)
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV1 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# resnet32x4 > ShuffleV2
"$PYTHON" train_teacher.py --model ShuffleV2 --trial 1,2,3 --resume auto "$@"  # Student
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# wrn_40_2 > ShuffleV1
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s ShuffleV1 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD
