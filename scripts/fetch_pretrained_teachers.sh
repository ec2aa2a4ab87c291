#!/usr/bin/env bash
# Download RepDistiller's six teachers into save/models/NAME_vanilla/ckpt_epoch_240.pth, or those named.
#   bash scripts/fetch_pretrained_teachers.sh resnet56 vgg13
# TEACHER_DIR is another folder to put them in, TEACHER_URL another place to get them from (https:// or file://),
# CHECK=0 leaves out the accuracy. No checksums of these files are published: the accuracy on the test images is
# compared with the published one, and the sha256 is printed and kept beside the file.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
folder=${TEACHER_DIR:-save/models}
url=${TEACHER_URL:-https://shape2prog.csail.mit.edu/repo}
if [ $# -eq 0 ]; then set -- wrn_40_2 resnet56 resnet110 resnet32x4 vgg13 ResNet50; fi

accuracy_of() {
  case $1 in
    wrn_40_2) echo 75.61 ;; resnet56) echo 72.34 ;; resnet110) echo 74.31 ;;
    resnet32x4) echo 79.42 ;; vgg13) echo 74.64 ;; ResNet50) echo 79.34 ;;
    *) echo "error: $1: not one of RepDistiller's teachers wrn_40_2 resnet56 resnet110 resnet32x4 vgg13 ResNet50" >&2
       return 2 ;;
  esac
}

download() { # URL FILE
  if command -v curl > /dev/null; then curl --fail --location --proto-redir =https --show-error --silent --retry 2 --output "$2" "$1"
  else wget --quiet --tries 3 --output-document "$2" "$1"; fi
}

for name in "$@"; do accuracy_of "$name" > /dev/null; done
for name in "$@"; do
  file=$folder/${name}_vanilla/ckpt_epoch_240.pth
  mkdir -p "${file%/*}"
  if [ ! -f "$file" ]; then
    echo "==> $url/${name}_vanilla/ckpt_epoch_240.pth"
    if ! download "$url/${name}_vanilla/ckpt_epoch_240.pth" "$file.partial"; then
      rm -f "$file.partial"
      echo "error: $name can't be had from $url; if the host is gone, train it: bash" \
           "scripts/run_cifar_vanilla.sh $name, or give TEACHER_URL another place" >&2
      exit 2
    fi
    mv "$file.partial" "$file"
    rm -f "$file.sha256"
  fi
  if [ ! -f "$file.sha256" ]; then (cd "${file%/*}" && sha256sum ckpt_epoch_240.pth > ckpt_epoch_240.pth.sha256); fi
  if ! (cd "${file%/*}" && sha256sum --check --quiet ckpt_epoch_240.pth.sha256); then
    echo "error: $file is not what was downloaded; delete it and run this again" >&2
    exit 2
  fi
  echo "==> $file  sha256 $(cut -c1-64 "$file.sha256")"
  if [ "${CHECK:-1}" != 0 ]; then
    echo "==> published top-1: $(accuracy_of "$name"); here:"
    "$PYTHON" -m scripts.evaluate --path "$file" --model "$name"
  fi
done
