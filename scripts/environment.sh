# Sourced by the other scripts, or by a shell of yours: PYTHON becomes an interpreter with requirements-dev.txt (and with it
# requirements.txt) installed, in the active environment if there is one, else in .venv beside the code. Installs again
# only when one of the two changed.
mixkd_python() {
  local candidate
  if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
    PYTHON=${VIRTUAL_ENV:-$CONDA_PREFIX}/bin/python
    [ -x "$PYTHON" ] || { echo "error: the active environment has no $PYTHON; deactivate it or create it again" >&2; return 2; }
    return 0
  fi
  PYTHON=$PWD/.venv/bin/python
  if "$PYTHON" -m pip --version > /dev/null 2>&1; then return 0; fi # else none yet, or half of one
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python ""; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null; then break; fi
  done
  [ -n "$candidate" ] || { echo "error: no Python 3.10 or newer found; install one, with its venv module" >&2; return 2; }
  echo "==> making .venv with $("$candidate" --version)"
  "$candidate" -m venv --clear .venv ||
    { echo "error: $candidate can't make a venv; on Debian: apt install python3-venv" >&2; return 2; }
}

mixkd_install() {
  local stamp
  stamp=$("$PYTHON" -c 'import sys; print(sys.prefix)')/.mixkd-requirements || return 2
  if cat requirements.txt requirements-dev.txt | cmp -s - "$stamp"; then return 0; fi
  echo "==> installing requirements-dev.txt (torch's CUDA build is several GB; this takes minutes, once)"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt ||
    { echo "error: pip could not install requirements-dev.txt; correct the errors above and start again" >&2; return 2; }
  { cat requirements.txt requirements-dev.txt > "$stamp"; } 2> /dev/null || true
}

mixkd_python && mixkd_install || return 2
export PYTHON PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python
