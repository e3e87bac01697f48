#!/usr/bin/env bash
# Sets the environment up if need be, then runs the checks and the tests. Arguments go to pytest:
#   bash scripts/test.sh                       everything
#   bash scripts/test.sh tests/session -k undo a part (the static checks still run first)
# TEST_PROCESSES (2) says how many processes share the tests, of one thread each; 0 for none beside pytest's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh --dev

ruff check .
ruff format --check .
mypy

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec python -m pytest --numprocesses "${TEST_PROCESSES:-2}" --dist loadfile "$@"
