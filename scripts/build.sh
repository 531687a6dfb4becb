#!/usr/bin/env bash
# Installs what is missing, fetches oneDNN, configures and builds one preset. A second run only builds what changed.
# Usage: scripts/build.sh [preset] [target...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
targets=()
[ $# -gt 0 ] && targets=(--target "$@")
groups=(build)
[ "$preset" = fuzz ] && groups+=(fuzz)
# Clones in different folders share what ccache knows.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
scripts/bootstrap.sh "${groups[@]}"
scripts/fetch_deps.sh
ninja="build/$preset/build.ninja"
if [ ! -e "$ninja" ] || [ CMakePresets.json -nt "$ninja" ]; then
  echo "planish: configuring build/$preset"
  log=$(cmake --preset "$preset" 2>&1) || { echo "$log" >&2; rm -f "$ninja"; exit 1; }
fi
echo "planish: building build/$preset on $(nproc) cores"
if [ -t 1 ]; then
  cmake --build --preset "$preset" "${targets[@]}"
else
  # Without a terminal ninja prints a line per file: keep about twenty of them, and everything that is not a step.
  # (Read by the shell: mawk would hold its input back in blocks.)
  last=
  cmake --build --preset "$preset" "${targets[@]}" 2>&1 | while IFS= read -r line; do
    if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]]; then
      step=$((20 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      [ "$step" != "$last" ] || continue
      last=$step
    fi
    printf '%s\n' "$line"
  done
fi
