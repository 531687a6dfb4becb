#!/usr/bin/env bash
# Makes .venv/ with the Python packages of the given requirement files (from tests/), once per version of the files.
# Usage: scripts/setup_venv.sh requirements.txt [requirements-bench.txt]
# Exit 3: the packages could not be fetched (no network); the caller decides whether that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
for file in "$@"; do
  stamp=".venv/.installed-$file"
  cmp -s "tests/$file" "$stamp" && continue
  scripts/bootstrap.sh build python
  echo "planish: installing the Python packages of tests/$file into .venv/"
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip --disable-pip-version-check install -q -r "tests/$file" </dev/null || exit 3
  cp "tests/$file" "$stamp"
done
