#!/usr/bin/env bash
# Installs what the build needs and the machine lacks, with apt (Debian 12, Ubuntu 22.04 and 24.04; root or sudo).
# Usage: scripts/bootstrap.sh [build] [python] [fuzz] [fresh]   which groups of packages; default: build
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=(
  [build]="g++ cmake ninja-build ccache pkg-config git ca-certificates python3 python3-pip
    libprotobuf-dev protobuf-compiler libflatbuffers-dev flatbuffers-compiler nlohmann-json3-dev libfmt-dev libcli11-dev
    libjpeg-dev libpng-dev libwebp-dev libstb-dev zlib1g-dev libgtest-dev"
  [python]="python3-venv"
  [fuzz]="clang"
  [fresh]="debootstrap"
)

wanted=()
for group in "${@:-build}"; do
  read -r -d '' -a group_packages <<<"${packages[$group]}" || true
  wanted+=("${group_packages[@]}")
done
# Virtual packages (libjpeg-dev on some releases) have no status of their own, hence Provides.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n${db:Status-Status} ${Provides}\n' 2>/dev/null |
  sed -n 's/^installed //p' | tr ',' '\n' | sed 's/^ *//; s/ .*//' | sort -u || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "planish: this machine has no apt-get; install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    { echo "planish: run this as root, or install sudo, to get: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "planish: installing ${#missing[@]} packages with apt: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1 </dev/null ||
    { cat "$log" >&2; echo "planish: apt-get $1 failed, see above" >&2; return 1; }
}
# Lists that cannot be refreshed may still be good enough; the installation tells.
apt update || echo "planish: going on with the package lists that are here" >&2
apt install -y --no-install-recommends "${missing[@]}"
