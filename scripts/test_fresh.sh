#!/usr/bin/env bash
# Proves the two README commands on a machine that has nothing: makes a bare Debian 12 (or Ubuntu) root in a temporary
# folder, clones the committed state of this repository into it and runs make demo and make test there with a clean environment.
# Only the host's ways to its package mirrors (apt, pip, certificates, name service) are copied in.
# Usage: [RELEASE=bookworm|trixie|jammy|noble] scripts/test_fresh.sh [word...]
#   word     make words to run; default: demo test
#   RELEASE  Debian 12 (the default) or 13, Ubuntu 22.04 or 24.04
# Needs root and the right to chroot and mount. The packages of the bare root are cached in build/fresh/.
# KEEP=1 leaves the root in place for a look.
set -euo pipefail
cd "$(dirname "$0")/.."
repo=$PWD
[ $# -gt 0 ] || set -- demo test
[ "$(id -u)" -eq 0 ] || exec sudo -- "$0" "$@"
# A mount namespace of our own: whatever happens, no mount is left behind.
[ "${PLANISH_FRESH_NAMESPACE:-}" = 1 ] ||
  exec env PLANISH_FRESH_NAMESPACE=1 unshare --mount --propagation private "$0" "$@"

scripts/bootstrap.sh fresh
release=${RELEASE:-bookworm}
sources() { cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; }
host_mirror() { sources | grep -Eo "https?://[^ ]*/$1/?( |$)" | head -n 1 | tr -d ' ' || true; }
# make and the certificates are what the README asks for; everything else is the bootstrap's business.
options=(--variant=minbase "--include=make,ca-certificates")
recipe=()
case $release in
  bookworm | trixie)
    mirror=$(host_mirror debian)
    mirror=${mirror:-http://deb.debian.org/debian}
    components=main ;;
  jammy | noble)
    mirror=$(host_mirror ubuntu)
    mirror=${mirror:-http://archive.ubuntu.com/ubuntu}
    components="main universe"
    options+=(--components=main,universe)
    # A Debian host knows neither Ubuntu's keys nor the recipe of every Ubuntu; all of them share one.
    [ -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ] || options+=(--no-check-gpg)
    recipe=(/usr/share/debootstrap/scripts/gutsy) ;;
  *) echo "planish: RELEASE=$release: known are bookworm, trixie, jammy and noble" >&2; exit 1 ;;
esac

root=$(mktemp -d "${TMPDIR:-/tmp}/planish-fresh.XXXXXX")
finish() {
  for mounted in proc sys dev/shm; do umount -R -l "$root/$mounted" 2>/dev/null || true; done
  if [ "${KEEP:-}" = 1 ]; then echo "planish: the root stays in $root"; else rm -rf --one-file-system "$root"; fi
}
trap finish EXIT

cache="$repo/build/fresh/$release.tar.gz"
mkdir -p "$repo/build/fresh"
log="$repo/build/fresh/debootstrap.log"
if [ ! -e "$cache" ]; then
  echo "planish: fetching a bare $release from $mirror"
  debootstrap --make-tarball="$cache.part" "${options[@]}" "$release" "$root/fetch" "$mirror" "${recipe[@]}" \
    >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
  rm -rf "$root/fetch"
  mv "$cache.part" "$cache"
fi
echo "planish: unpacking a bare $release into $root"
debootstrap --unpack-tarball="$cache" "${options[@]}" "$release" "$root" "$mirror" "${recipe[@]}" >"$log" 2>&1 ||
  { tail -n 20 "$log" >&2; exit 1; }

# The mirror, its options, certificates and names.
echo "deb $mirror $release $components" >"$root/etc/apt/sources.list"
apt-config dump | grep -E '^Acquire::[^ ]+ ' | grep -v '::IndexTargets' >"$root/etc/apt/apt.conf.d/50host" || true
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
mkdir -p "$root/usr/local/share/ca-certificates"
find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \;
chroot "$root" update-ca-certificates >/dev/null 2>&1
[ -e /etc/pip.conf ] && cp /etc/pip.conf "$root/etc/"
# CI=true: Python packages that cannot be fetched are a failure here, not a skip.
keep=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 CI=true)
[ -e "$root/etc/pip.conf" ] || keep+=(PIP_CERT=/etc/ssl/certs/ca-certificates.crt)
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [ -n "${!name:-}" ] && keep+=("$name=${!name}")
done
mount -t proc proc "$root/proc" || mount --bind /proc "$root/proc"
mount --rbind /sys "$root/sys" || true
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm" || true

git clone -q --no-hardlinks "$repo" "$root/root/planish"
for word in "$@"; do
  for pass in first second; do
    [ "$pass" = second ] && [ "$word" = test ] && continue
    echo "planish: make $word on the bare root, $pass run"
    start=$SECONDS
    chroot "$root" env -i "${keep[@]}" make -C /root/planish --no-print-directory "$word" </dev/null
    echo "planish: make $word, $pass run: $((SECONDS - start)) s"
  done
done
echo "planish: fresh machine: $* passed"
