#!/usr/bin/env bash
# Runs the C++ tests of a preset (ctest) and, for release, those that compare with Python packages (pytest).
# Usage: scripts/test.sh [preset]     PLANISH_LABELS=unit narrows ctest to a label
# Whole networks (pytest's marker `models`) take minutes and are left to make test-models.
# Ends with the summary lines of both. Without a network the Python tests are skipped with a word; with CI=true that
# is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
preset=${1:-release}
rc=0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

echo "planish: C++ tests of build/$preset"
run=()
# ThreadSanitizer of GCC 11 and 12 cannot start where the kernel spreads addresses over more than 28 random bits.
[ "$preset" = tsan ] && run=(setarch -R)
"${run[@]}" ctest --preset "$preset" ${PLANISH_LABELS:+-L "$PLANISH_LABELS"} 2>&1 | tee "$out/ctest" || rc=1
summary=$(grep -E '^[0-9]+% tests passed' "$out/ctest")

python_tests() {
  [ "$preset" = release ] && compgen -G 'tests/test_*.py' >/dev/null || return 0
  scripts/setup_venv.sh requirements.txt
  case $? in
    0) ;;
    3) if [ "${CI:-}" = true ]; then return 1; fi
       echo "planish: Python tests skipped: their packages could not be fetched (network?)"; return 0 ;;
    *) return 1 ;;
  esac
  echo "planish: tests that compare with Python packages"
  .venv/bin/python -m pytest -q -p no:cacheprovider -m "not models" tests 2>&1 | tee "$out/pytest"
}
python_tests || rc=1
echo
echo "planish: summary"
echo "  ctest:  ${summary:-did not run}"
[ -e "$out/pytest" ] && echo "  pytest: $(tail -n 1 "$out/pytest")"
exit $rc
