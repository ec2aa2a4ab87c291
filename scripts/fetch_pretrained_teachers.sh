#!/usr/bin/env bash
# Download CIFAR-100 teachers trained by others into save/models/, where --path_t and the tables find them.
#   bash scripts/fetch_pretrained_teachers.sh                # chenyaofo's resnet20, resnet32, resnet44, resnet56
#   bash scripts/fetch_pretrained_teachers.sh resnet56 --no-check
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
exec "$PYTHON" -m scripts.fetch_teachers "$@"
