#!/usr/bin/env bash
# Runs every libFuzzer program for a time, from the seeds in fuzz/corpus/<name>/; a finding is kept in build/fuzz/.
# Usage: scripts/fuzz.sh [seconds for each]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
found=0
for program in build/fuzz/bin/fuzz_*; do
  [ -x "$program" ] || { echo "planish: no fuzz programs were built" >&2; exit 1; }
  name=$(basename "$program")
  work="build/fuzz/corpus/$name"
  mkdir -p "$work"
  seeds=()
  [ -d "fuzz/corpus/${name#fuzz_}" ] && seeds=("fuzz/corpus/${name#fuzz_}")
  echo "planish: $name for $seconds s"
  UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=suppressions=cmake/lsan.supp \
    "$program" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -print_final_stats=1 -verbosity=1 \
    -artifact_prefix="build/fuzz/$name-" "$work" "${seeds[@]}" 2>&1 |
    tail -n 25 || { found=1; echo "planish: $name found a fault"; }
done
[ $found -eq 0 ] && echo "planish: no fault found"
exit $found
