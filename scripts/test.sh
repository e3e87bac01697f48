#!/usr/bin/env bash
# Sets the environment up if need be, then runs the checks and the tests. Arguments go to pytest:
#   bash scripts/test.sh                       everything
#   bash scripts/test.sh tests/session -k undo a part (the static checks still run first)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh --dev

ruff check .
ruff format --check .
mypy

exec python -m pytest "$@"
