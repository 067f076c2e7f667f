#!/usr/bin/env bash
# The main job: installs what is needed, trains both stages, evaluates and writes a report.
# Arguments go to `gss quickstart` (see `.venv/bin/gss quickstart --help`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m gss quickstart "$@"
