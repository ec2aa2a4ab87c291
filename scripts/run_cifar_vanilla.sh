#!/usr/bin/env bash
# Train networks alone: the six teachers and the nine students of the tables, or those named, in this order.
#   bash scripts/run_cifar_vanilla.sh                    # all fifteen
#   bash scripts/run_cifar_vanilla.sh resnet56 vgg13     # these
# FLAGS="--trial 1,2,3" adds flags to every command.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
teachers=(resnet56 resnet110 wrn_40_2 vgg13 resnet32x4 ResNet50)
students=(wrn_16_2 wrn_40_1 resnet20 resnet32 resnet8x4 vgg8 MobileNetV2 ShuffleV1 ShuffleV2)
if [ $# -eq 0 ]; then set -- "${teachers[@]}" "${students[@]}"; fi
read -r -a flags <<< "${FLAGS:-}"

for model in "$@"; do
  "$PYTHON" train_teacher.py --model "$model" --resume auto ${flags[@]+"${flags[@]}"}
done
