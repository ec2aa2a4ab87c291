#!/usr/bin/env bash
# The checks and runs that need a GPU, in order. It may be stopped at any time; started again, it continues.
#   bash scripts/reproduce.sh --jobs 4                                   # arguments go to every table
#   bash scripts/reproduce.sh --epochs 8 --train_fraction 0.1 --trial 1  # reduced, and labelled so everywhere
#   STEPS="tests speed" bash scripts/reproduce.sh                        # some of: tests speed first tables report, or rows
#   TABLES="main cutmix" bash scripts/reproduce.sh                       # some of the tables
#   SAVE=DIR bash scripts/reproduce.sh                                   # the tables' --save_dir, in place of ./save
#   IMAGENET=DIR bash scripts/reproduce.sh                               # and ImageNet's, last, whose images can't be downloaded
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
read -r -a steps <<< "${STEPS:-tests speed first tables report}"
all="main cutmix beta_a repdistiller_same repdistiller_cross partial_amount zoo_mixup rescale teachers augmentation claims"
read -r -a tables <<< "${TABLES:-$all}"
mkdir -p result/reproduce
failed=()
version=$(git rev-parse HEAD 2>/dev/null || echo "no version")

once() { # once NAME COMMAND...: skipped if it has succeeded at this commit; its output is kept
  local name=$1 mark status=0
  shift
  mark="result/reproduce/$name.done"
  if [ -s "$mark" ] && [ "$(cat "$mark")" = "$version" ]; then echo "==> $name: done"; return; fi
  echo "==> $name: $*"
  "$@" 2>&1 | tee "result/reproduce/$name.log" || status=$?
  keep_going "$name" "$status"
  if [ "$status" -eq 0 ]; then echo "$version" > "$mark"; fi
}

keep_going() { # a signal stops everything, a failure is reported at the end
  if [ "$2" -gt 128 ]; then exit "$2"; fi
  if [ "$2" -ne 0 ]; then failed+=("$1"); fi
}

run_table() {
  local status=0
  "$PYTHON" -m scripts.run_table "$1" --save_dir "${SAVE:-save}" "${@:2}" || status=$? # a given --save_dir holds
  keep_going "$1" "$status"
}

on_cuda() { # on_cuda MODULE ARGUMENTS...: without a device it would pass and prove nothing
  "$PYTHON" -c 'import torch; assert torch.cuda.is_available(), "torch finds no CUDA device, which this script needs"' \
    && "$PYTHON" -m "$@"
}
speed() { # with a thread per core the classic path's host side is slower; two threads are its best
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} on_cuda scripts.benchmark --pairs resnet56:resnet20,wrn_40_2:wrn_16_2 "$@"
}

for step in "${steps[@]}"; do
  case $step in
    tests) once cuda_tests on_cuda pytest -m cuda ;;
    speed) # one seed with the profile, then three at once, bf16, other methods, whole epochs
      once speed_one speed --what data,step,train --json result/reproduce/speed_one.json \
        --profile result/reproduce/profile.txt
      once speed_three speed --what step,train --trial 1,2,3 --json result/reproduce/speed_three.json
      once speed_bf16 speed --what step --precision bf16 --json result/reproduce/speed_bf16.json
      once speed_methods speed --what step --methods kd,crd,reviewkd,rkd,kdsvd --json result/reproduce/speed_methods.json
      once speed_kdsvd_eager speed --what step --methods kdsvd --step eager \
        --json result/reproduce/speed_kdsvd_eager.json ;; # by eigh, where the captured step squares
    first) # the rows that matter most: the teachers, then kd, FMU and PMU of three pairs
      for pair in "resnet56 > resnet20" "wrn_40_2 > wrn_16_2" "resnet110 > resnet32"; do
        run_table main --trial 1,2,3 --only "KD, T=4, $pair" --only "MIXSTD + FMU, $pair" \
          --only "MIXSTD + PMU, $pair" "$@"
      done
      for name in resnet56 resnet110 wrn_40_2; do # small enough to be kept with the code
        for trial in 0 1; do # full runs alone carry this plain name
          weights=${SAVE:-save}/models/${name}_cifar100_lr_0.05_decay_0.0005_trial_$trial/${name}_last.pth
          if [ -e "$weights" ]; then once "export_$name" "$PYTHON" -m scripts.export_weights --path "$weights"; break; fi
        done
      done ;;
    rows) # full rows from chenyaofo's resnet56 (bash scripts/fetch_pretrained_teachers.sh resnet56), seed 1
      teachers=(--teacher_dir "${TEACHER_DIR:-save/models}")
      pair="resnet56 > resnet20"
      run_table main "${teachers[@]}" --trial 1 --only "Student, $pair" --only "KD, T=4, $pair" \
        --only "MIXSTD + FMU, $pair" --only "MIXSTD + PMU, $pair" --only "KD + PMU, T=4, $pair" "$@"
      run_table cutmix "${teachers[@]}" --trial 1 --only "CutMix, partial, $pair" "$@" ;;
    tables)
      for table in "${tables[@]}"; do run_table "$table" "$@"; done
      if [ -n "${IMAGENET:-}" ]; then run_table imagenet --data_dir "$IMAGENET" "$@"; fi ;;
    report) "$PYTHON" -m scripts.report ;;
    *) echo "error: STEPS: unknown step $step" >&2; exit 2 ;;
  esac
done
if [ ${#failed[@]} -gt 0 ]; then echo "error: not complete: ${failed[*]}; run this again" >&2; exit 1; fi
