#!/usr/bin/env bash
# Formats the C++ sources, or with --check lists those that are not formatted and exits 1.
# clang-format 14.0.6 comes from PyPI, so that every machine agrees on the result.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup_venv.sh requirements.txt
mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.h' '*.cpp')
if [ "${1:-}" = --check ]; then
  .venv/bin/clang-format --dry-run --Werror "${files[@]}" || { echo "planish: run make format" >&2; exit 1; }
  echo "planish: ${#files[@]} files are formatted"
else
  .venv/bin/clang-format -i "${files[@]}"
fi
