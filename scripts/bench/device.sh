#!/usr/bin/env bash
# What only a device can measure, in one call of at most 480 s: bash scripts/bench/device.sh FOLDER [--device cpu --steps 2]
# Each experiment is a process under `timeout` that adds a line to FOLDER/results.jsonl; one that fails is named there,
# and the next one starts. The baseline comes first and last.
set -u
out=${1:?a folder for the results}; shift
mkdir -p "$out" && out=$(cd "$out" && pwd) && cd "$(dirname "$0")/../.."
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
python=${PYTHON:-python3}
all=${ALL:-390} # seconds
more=("$@")

run() { # run SECONDS EXPERIMENT [flags]; on the CPU only the end of all is kept to
    local most=$1 began=$SECONDS left=$((all - SECONDS)) status=0
    shift
    [ -z "$cuda" ] || ((left < most)) && most=$left
    if ((most < 5)); then
        echo "{\"experiment\": \"$*\", \"failed\": \"no time left\"}" | tee -a "$out/results.jsonl"
        return
    fi
    timeout -k 3 "$most" "$python" -m scripts.bench.device "$@" "${more[@]}" >"$out/last.txt" 2>>"$out/log.txt" || status=$?
    grep '^{' "$out/last.txt" >>"$out/results.jsonl" || echo "{\"experiment\": \"$*\", \"failed\": $status}" | tee -a "$out/results.jsonl"
    echo "-- $* $((SECONDS - began)) s" | tee -a "$out/log.txt"
}

precisions=(tf32 bf16) cuda=1
case " $* " in *" cpu "*) precisions=(fp32) cuda= ;; esac
run 30 base
run 25 card
run 40 profile
run 30 side --rounds 3
run 30 norms --rounds 3
run 30 side+norms --rounds 3
run 30 ahead --rounds 3
run 30 casts --rounds 3 --precision bf16
run 30 side+norms+ahead --rounds 3
run 30 plans --rounds 3
for trials in 1 1,2,3 1,2,3,4,5,6,7,8 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16; do
    run 35 lanes --trial $trials
done
for precision in "${precisions[@]}"; do
    for trials in 1 1,2,3 1,2,3,4,5,6,7,8; do
        run 30 lanes --variant side --trial $trials --precision "$precision"
    done
done
if [ -n "$cuda" ] && ((all - SECONDS > 20)); then
    timeout -k 3 30 "$python" -m pytest -x -q -p no:cacheprovider -k "float64 and float32 and 13" tests/test_cuda_kernels.py >"$out/pytest.txt" 2>&1
    timeout -k 3 60 "$python" -m pytest -m cuda -x -q -p no:cacheprovider tests/test_cuda.py >>"$out/pytest.txt" 2>&1
    tail -n 3 "$out/pytest.txt"
fi
run 40 epochs --variant side
run 25 base
echo "== $SECONDS s in all"
