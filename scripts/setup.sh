#!/usr/bin/env bash
# Makes .venv with the pinned versions, or does nothing when they are there already. Called by the other scripts.
# PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "setup: error: $1" >&2
    exit 1
}

runs() { "$@" >/dev/null 2>&1; }

is_new_enough() { runs "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

find_python() {
    local candidate without_venv=""
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
        is_new_enough "$candidate" || continue
        # Debian ships venv without ensurepip unless python3-venv is installed; both are needed.
        if runs "$candidate" -c 'import ensurepip, venv'; then
            echo "$candidate"
            return
        fi
        without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv has no venv module: install it (Debian, Ubuntu: apt install python3-venv) or set PYTHON"
    fi
    fail "no Python 3.11 or newer found: install one, or name it: PYTHON=/path/to/python bash ${0}"
}

if ! runs .venv/bin/python -c ''; then
    python=$(find_python)
    echo "setup: creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
elif ! is_new_enough .venv/bin/python; then
    fail ".venv holds a Python older than 3.11: remove the folder and call this again"
fi

# What was installed last, from which folder: a changed requirement or a moved checkout installs again.
wanted=$(.venv/bin/python - <<'PY'
import hashlib
import os
import sys

digest = hashlib.sha256(f"{os.getcwd()} {sys.version}".encode())
for name in ("setup.cfg", "constraints.txt", "pyproject.toml"):
    with open(name, "rb") as file:
        digest.update(file.read())
print(digest.hexdigest())
PY
)
stamp=.venv/gss-setup
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    runs .venv/bin/python -m pip --version || .venv/bin/python -m ensurepip
    echo "setup: installing the pinned versions into .venv (some minutes the first time)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' ||
        fail "the installation failed; the lines above say why. Call this again to retry"
    echo "$wanted" >"$stamp"
fi
