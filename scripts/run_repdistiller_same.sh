#!/usr/bin/env bash
# RepDistiller, teacher and student of one style
# One command per line, with the same runs as scripts/tables/repdistiller_same.json (a test compares them).
# Table and pictures: python -m scripts.run_table repdistiller_same
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_repdistiller_same.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh wrn_40_2 resnet56 resnet110 resnet32x4 vgg13
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# wrn_40_2 > wrn_16_2
"$PYTHON" train_teacher.py --model wrn_16_2 --trial 1,2,3 --resume auto "$@"  # Student
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill fsp --mix none --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# wrn_40_2 > wrn_40_1
"$PYTHON" train_teacher.py --model wrn_40_1 --trial 1,2,3 --resume auto "$@"  # Student
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_40_1 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# resnet56 > resnet20
"$PYTHON" train_teacher.py --model resnet20 --trial 1,2,3 --resume auto "$@"  # Student
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill fsp --mix none --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# resnet110 > resnet20
resnet110=$(teacher resnet110)
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill fsp --mix none --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet20 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# resnet110 > resnet32
"$PYTHON" train_teacher.py --model resnet32 --trial 1,2,3 --resume auto "$@"  # Student
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill fsp --mix none --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet110" --model_t resnet110 --model_s resnet32 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# resnet32x4 > resnet8x4
"$PYTHON" train_teacher.py --model resnet8x4 --trial 1,2,3 --resume auto "$@"  # Student
resnet32x4=$(teacher resnet32x4)
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill fsp --mix none --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s resnet8x4 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD

# vgg13 > vgg8
"$PYTHON" train_teacher.py --model vgg8 --trial 1,2,3 --resume auto "$@"  # Student
vgg13=$(teacher vgg13)
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill kd --mix none --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill hint --mix none --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill attention --mix none --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill similarity --mix none --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill correlation --mix none --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill vid --mix none --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill rkd --mix none --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill pkt --mix none --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill abound --mix none --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill factor --mix none --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill fsp --mix none --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill nst --mix none --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill crd --mix none --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill dkd --mix none --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$vgg13" --model_t vgg13 --model_s vgg8 --distill lskd --mix none --trial 1,2,3 --resume auto "$@"  # LSKD
