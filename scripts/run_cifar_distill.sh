#!/usr/bin/env bash
# One command for every method, with the weights of distiller_zoo/settings.json, resnet32x4 to resnet8x4 without mixing,
# as RepDistiller's script of this name. Arguments go to every command: bash scripts/run_cifar_distill.sh --trial 1,2,3
# STUDENT and TEACHER name another pair, PATH_T another checkpoint.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/teachers.sh
export TRIALS=${TRIALS:-1}
student=${STUDENT:-resnet8x4}
path_t=${PATH_T:-$(teacher "${TEACHER:-resnet32x4}")}

# logits
distil --mix none --distill kd -r 0.1 -a 0.9 -b 0 "$@"
distil --mix none --distill mixstd -r 0.1 -a 0.9 -b 0 "$@"
distil --mix none --distill dkd -r 1 -a 0 -b 1 "$@"
distil --mix none --distill dist -r 1 -a 0 -b 2 "$@"
distil --mix none --distill lskd -r 0.1 -a 0 -b 9 "$@"
# features
distil --mix none --distill hint -r 1 -a 0 -b 100 "$@"
distil --mix none --distill attention -r 1 -a 0 -b 1000 "$@"
distil --mix none --distill similarity -r 1 -a 0 -b 3000 "$@"
distil --mix none --distill correlation -r 1 -a 0 -b 0.02 "$@"
distil --mix none --distill vid -r 1 -a 0 -b 1 "$@"
distil --mix none --distill rkd -r 1 -a 0 -b 1 "$@"
distil --mix none --distill pkt -r 1 -a 0 -b 30000 "$@"
distil --mix none --distill nst -r 1 -a 0 -b 50 "$@"
distil --mix none --distill kdsvd -r 1 -a 0 -b 1 "$@"
distil --mix none --distill crd -r 1 -a 0 -b 0.8 "$@"
distil --mix none --distill reviewkd -r 1 -a 0 -b 5 "$@"
# two stages: the method trains for --init_epochs, then cross-entropy, with factor plus its own term
distil --mix none --distill abound -r 1 -a 0 -b 0 "$@"
distil --mix none --distill factor -r 1 -a 0 -b 200 "$@"
distil --mix none --distill fsp -r 1 -a 0 -b 0 "$@"
