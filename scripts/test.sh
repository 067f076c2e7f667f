#!/usr/bin/env bash
# Installs what is needed, then lint, types and tests. Arguments go to pytest: `bash scripts/test.sh -m slow`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy gss vqvae scripts
.venv/bin/lint-imports --no-logo --no-cache
# A file goes to one process: its tests share what they train.
exec .venv/bin/python -m pytest -q -n 2 --dist loadfile -m "not slow" "$@"
