#!/usr/bin/env bash
# The zoo under partial mixup
# One command per line, with the same runs as scripts/tables/zoo_mixup.json (a test compares them).
# Table and pictures: python -m scripts.run_table zoo_mixup
# Copy a line and edit it, or give flags that go to every command:
#   bash scripts/run_zoo_mixup.sh --trial 1 --epochs 60 --lr_decay_epochs 37,45,52
# Its teachers come first: bash scripts/run_cifar_vanilla.sh resnet56 wrn_40_2 resnet32x4
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh

# resnet56 > resnet20
resnet56=$(teacher resnet56)
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kd --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill hint --mix mixup --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill attention --mix mixup --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill similarity --mix mixup --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill correlation --mix mixup --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill vid --mix mixup --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill rkd --mix mixup --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill pkt --mix mixup --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill nst --mix mixup --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill kdsvd --mix mixup --trial 1,2,3 --resume auto "$@"  # KDSVD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill abound --mix mixup --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill factor --mix mixup --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill fsp --mix mixup --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill crd --mix mixup --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill dkd --mix mixup --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill dist --mix mixup --trial 1,2,3 --resume auto "$@"  # DIST
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill lskd --mix mixup --trial 1,2,3 --resume auto "$@"  # LSKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet56" --model_t resnet56 --model_s resnet20 --distill reviewkd --mix mixup --trial 1,2,3 --resume auto "$@"  # ReviewKD

# wrn_40_2 > wrn_16_2
wrn_40_2=$(teacher wrn_40_2)
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kd --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill hint --mix mixup --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill attention --mix mixup --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill similarity --mix mixup --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill correlation --mix mixup --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill vid --mix mixup --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill rkd --mix mixup --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill pkt --mix mixup --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill nst --mix mixup --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill kdsvd --mix mixup --trial 1,2,3 --resume auto "$@"  # KDSVD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill abound --mix mixup --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill factor --mix mixup --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill fsp --mix mixup --trial 1,2,3 --resume auto "$@"  # FSP
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill crd --mix mixup --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill dkd --mix mixup --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill dist --mix mixup --trial 1,2,3 --resume auto "$@"  # DIST
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill lskd --mix mixup --trial 1,2,3 --resume auto "$@"  # LSKD
"$PYTHON" train_student_mixstd.py --path_t "$wrn_40_2" --model_t wrn_40_2 --model_s wrn_16_2 --distill reviewkd --mix mixup --trial 1,2,3 --resume auto "$@"  # ReviewKD

# resnet32x4 > ShuffleV2
resnet32x4=$(teacher resnet32x4)
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill kd --trial 1,2,3 --resume auto "$@"  # KD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill mixstd --trial 1,2,3 --resume auto "$@"  # MIXSTD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill hint --mix mixup --trial 1,2,3 --resume auto "$@"  # FitNet
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill attention --mix mixup --trial 1,2,3 --resume auto "$@"  # AT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill similarity --mix mixup --trial 1,2,3 --resume auto "$@"  # SP
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill correlation --mix mixup --trial 1,2,3 --resume auto "$@"  # CC
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill vid --mix mixup --trial 1,2,3 --resume auto "$@"  # VID
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill rkd --mix mixup --trial 1,2,3 --resume auto "$@"  # RKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill pkt --mix mixup --trial 1,2,3 --resume auto "$@"  # PKT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill nst --mix mixup --trial 1,2,3 --resume auto "$@"  # NST
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill abound --mix mixup --trial 1,2,3 --resume auto "$@"  # AB
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill factor --mix mixup --trial 1,2,3 --resume auto "$@"  # FT
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill crd --mix mixup --trial 1,2,3 --resume auto "$@"  # CRD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill dkd --mix mixup --trial 1,2,3 --resume auto "$@"  # DKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill dist --mix mixup --trial 1,2,3 --resume auto "$@"  # DIST
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill lskd --mix mixup --trial 1,2,3 --resume auto "$@"  # LSKD
"$PYTHON" train_student_mixstd.py --path_t "$resnet32x4" --model_t resnet32x4 --model_s ShuffleV2 --distill reviewkd --mix mixup --trial 1,2,3 --resume auto "$@"  # ReviewKD
