# Sourced by the scripts that distil, from the root of the code.
#   teacher NAME     prints where its checkpoint is: see teacher_files in helper/known_teachers.py
#   distil FLAGS     trains $student from $path_t, with seeds TRIALS (default 1,2,3)
. scripts/environment.sh

teacher() { "$PYTHON" -m helper.known_teachers "$1" ${TEACHER_DIR:+"$TEACHER_DIR"}; }

distil() {
  "$PYTHON" train_student_mixstd.py --path_t "$path_t" --model_s "$student" --trial "${TRIALS:-1,2,3}" \
    --resume auto "$@"
}
