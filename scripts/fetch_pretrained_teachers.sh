#!/usr/bin/env bash
# Download CIFAR-100 teachers trained by others into save/models/, where --path_t and the tables find them.
#   bash scripts/fetch_pretrained_teachers.sh                       # chenyaofo's resnet20, resnet32, resnet44, resnet56
#   bash scripts/fetch_pretrained_teachers.sh resnet56              # those named
#   bash scripts/fetch_pretrained_teachers.sh --zoo repdistiller resnet56 vgg13
#
#   --zoo chenyaofo     (default) github.com/chenyaofo/pytorch-cifar-models, BSD-3-Clause; into
#                       NAME_chenyaofo/cifar100_NAME-SHA8.pt. SHA8 begins the file's sha256, which is checked.
#   --zoo repdistiller  the six of RepDistiller; into NAME_vanilla/ckpt_epoch_240.pth. Their host,
#                       shape2prog.csail.mit.edu, is gone: name a mirror with TEACHER_URL. No checksums of these files
#                       are published, so the sha256 of the first download is kept beside the file.
#
# Environment: TEACHER_DIR, another folder to put them in; TEACHER_URL, another place to get them from (https:// or
# file://); TEACHER_FILES, other files of the chenyaofo form there (cifar100_NAME-SHA8.pt, separated by blanks);
# CHECK=0 leaves out the accuracy on the test images, which is printed beside the published one.
# A file that is there and right is not fetched again; one that is there and wrong is left as it is, with status 2.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 2; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' scripts/fetch_pretrained_teachers.sh; }

zoo=chenyaofo
names=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --zoo) [ $# -gt 1 ] || fail "--zoo needs a value: chenyaofo or repdistiller"; zoo=$2; shift ;;
    --zoo=*) zoo=${1#--zoo=} ;;
    -*) fail "$1: unknown flag; there are --zoo chenyaofo|repdistiller and --help" ;;
    *) names+=("$1") ;;
  esac
  shift
done

chenyaofo="cifar100_resnet20-23dac2f1.pt cifar100_resnet32-84213ce6.pt cifar100_resnet44-ffe32858.pt
           cifar100_resnet56-f2eff4c8.pt"
case $zoo in
  chenyaofo)
    url=${TEACHER_URL:-https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet}
    read -r -d '' -a files <<< "${TEACHER_FILES:-$chenyaofo}" || true
    all=()
    for file in "${files[@]}"; do
      [[ $file =~ ^cifar100_([A-Za-z0-9_]+)-[0-9a-f]{8}\.pt$ ]] || fail "TEACHER_FILES: $file is not like cifar100_NAME-SHA8.pt"
      all+=("${BASH_REMATCH[1]}")
    done ;;
  repdistiller)
    url=${TEACHER_URL:-https://shape2prog.csail.mit.edu/repo}
    all=(wrn_40_2 resnet56 resnet110 resnet32x4 vgg13 ResNet50) ;;
  *) fail "--zoo $zoo: unknown; zoos: chenyaofo, repdistiller" ;;
esac
if [ ${#names[@]} -eq 0 ]; then names=("${all[@]}"); fi
for name in "${names[@]}"; do
  case " ${all[*]} " in
    *" $name "*) ;;
    *) fail "$name: not one of the teachers of --zoo $zoo: ${all[*]}" ;;
  esac
done

. scripts/environment.sh
folder=${TEACHER_DIR:-save/models}

place() { # NAME: where its file goes under $folder
  local file
  if [ "$zoo" = repdistiller ]; then echo "$1_vanilla/ckpt_epoch_240.pth"; return; fi
  for file in "${files[@]}"; do if [[ $file == "cifar100_$1-"* ]]; then echo "$1_chenyaofo/$file"; fi; done
}

download() { # URL FILE
  if command -v curl > /dev/null; then curl --fail --location --proto-redir =https --show-error --silent --retry 2 --output "$2" "$1"
  else wget --quiet --tries 3 --output-document "$2" "$1"; fi
}

sha256() { sha256sum "$1" | cut -c1-64; }

wrong() { # FILE: why it is not what $file's name (chenyaofo) or the sha256 beside it (RepDistiller) says, or nothing
  local found expected
  found=$(sha256 "$1")
  if [ "$zoo" = chenyaofo ]; then
    expected=${file##*-}
    expected=${expected%.pt}
  else
    expected=$(cut -c1-64 "$file.sha256" 2> /dev/null || true)
  fi
  if [ "${found:0:${#expected}}" != "$expected" ]; then echo "its sha256 is ${found:0:12}..., not ${expected:0:12}..."; fi
}

fetch() { # NAME: $file, downloaded beside its place and moved there when it is right
  local address=$url/$path why
  if [ "$zoo" = chenyaofo ]; then address=$url/${path##*/}; fi
  echo "==> $address"
  if ! download "$address" "$file.partial"; then
    rm -f "$file.partial"
    rmdir "${file%/*}" 2> /dev/null || true # if nothing else lies there
    fail "$1 can't be had from $url; if the host is gone, train it: bash scripts/run_cifar_vanilla.sh $1," \
         "or give TEACHER_URL another place"
  fi
  why=$([ "$zoo" = repdistiller ] || wrong "$file.partial")
  if [ -n "$why" ]; then
    rm -f "$file.partial"
    fail "$address: not the file that its name says ($why); deleted, try again or give TEACHER_URL another place"
  fi
  mv "$file.partial" "$file"
  rm -f "$file.sha256"
}

for name in "${names[@]}"; do
  path=$(place "$name")
  file=$folder/$path
  mkdir -p "${file%/*}"
  if [ ! -f "$file" ]; then fetch "$name"; fi
  if [ "$zoo" = repdistiller ] && [ ! -f "$file.sha256" ]; then echo "$(sha256 "$file")  ${file##*/}" > "$file.sha256"; fi
  why=$(wrong "$file")
  if [ -n "$why" ]; then fail "$file is not what was downloaded ($why); delete it and run this again"; fi
  echo "==> $file  sha256 $(sha256 "$file")"
  if [ "${CHECK:-1}" != 0 ]; then
    "$PYTHON" -m scripts.evaluate --path "$file" --model "$name"
  fi
done
