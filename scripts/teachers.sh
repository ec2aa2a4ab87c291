# Sourced by the scripts that distil, from the root of the code.
#   teacher NAME     prints where its checkpoint is: NAME_vanilla/ under TEACHER_DIR (default save/models), as
#                    fetch_pretrained_teachers.sh leaves RepDistiller's; or what train_teacher.py made; or the one that
#                    came with the code; or chenyaofo's, as the same script leaves it
#   distil FLAGS     trains $student from $path_t, with seeds TRIALS (default 1,2,3)
. scripts/environment.sh

teacher() {
  local file
  for file in "${TEACHER_DIR:-save/models}/$1_vanilla/ckpt_epoch_240.pth" \
              "save/models/$1_cifar100_lr_0.05_decay_0.0005_trial_0/$1_last.pth" \
              "models/pretrained/$1.pth" "${TEACHER_DIR:-save/models}/$1_chenyaofo/cifar100_$1-"*.pt; do
    if [ -f "$file" ]; then echo "$file"; return; fi
  done
  echo "error: no teacher $1; train it: bash scripts/run_cifar_vanilla.sh $1, fetch it: bash" \
       "scripts/fetch_pretrained_teachers.sh $1, or set TEACHER_DIR to the folder of $1_vanilla/" >&2
  return 2
}

distil() {
  "$PYTHON" train_student_mixstd.py --path_t "$path_t" --model_s "$student" --trial "${TRIALS:-1,2,3}" \
    --resume auto "$@"
}
