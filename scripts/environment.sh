# Sourced by the other scripts: PYTHON becomes an interpreter with requirements.txt installed, in the active
# environment if there is one, else in .venv beside the code. Installs again only when requirements.txt has changed.
if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
  PYTHON=$(command -v python)
else
  if [ ! -x .venv/bin/python ]; then
    for candidate in python3 python3.13 python3.12 python3.11 python3.10 python; do
      if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then break; fi
      candidate=
    done
    [ -n "$candidate" ] || { echo "error: no Python 3.10 or newer found; install one, with its venv module" >&2; exit 2; }
    echo "==> making .venv with $("$candidate" --version)"
    "$candidate" -m venv .venv || { echo "error: $candidate can't make a venv; on Debian: apt install python3-venv" >&2; exit 2; }
  fi
  PYTHON=$PWD/.venv/bin/python
fi
stamp=$("$PYTHON" -c 'import sys; print(sys.prefix)')/.mixkd-requirements
if ! cmp -s requirements.txt "$stamp"; then
  echo "==> installing requirements.txt (torch's CUDA build is several GB; this takes minutes, once)"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$stamp" 2>/dev/null || true
fi
export PYTHON PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python
