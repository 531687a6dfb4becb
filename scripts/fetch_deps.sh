#!/usr/bin/env bash
# Fetches what distributions do not carry into .deps/ (ignored by git): oneDNN 3.2 and the ONNX schema, from PyPI
# wheels whose checksums are pinned here. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."
onednn="onednn-cpu-gomp==2023.2.0 --hash=sha256:2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb
onednn-devel-cpu-gomp==2023.2.0 --hash=sha256:9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284"
onnx="onnx==1.23.2 --hash=sha256:7abf381d278f31ac62487fddedc9dd42da842dce94d5d43536836ee3efdf4a2b"

complete() {
  [ -e "$1/onednn/lib/libdnnl.so.3" ] && [ -e "$1/onednn/include/oneapi/dnnl/dnnl.hpp" ] && [ -e "$1/onnx/onnx.proto" ]
}
complete .deps && exit 0

echo "planish: fetching oneDNN 3.2 and the ONNX schema into .deps/ (48 MB)"
tmp=$(mktemp -d "$PWD/.deps.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
download() {
  printf '%s\n' "$1" >"$tmp/requirements.txt"
  shift
  python3 -m pip --disable-pip-version-check download -q --no-deps --only-binary=:all: --require-hashes \
    -r "$tmp/requirements.txt" -d "$tmp" "$@" </dev/null
}
download "$onednn"
# The schema is the same in every onnx wheel; naming one platform gives the same file to every Python.
download "$onnx" --python-version 3.12 --implementation cp --abi cp312 --abi abi3 \
  --platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64
for wheel in "$tmp"/*.whl; do python3 -m zipfile -e "$wheel" "$tmp/x"; done

mkdir -p "$tmp/deps/onednn" "$tmp/deps/onnx"
for data in "$tmp"/x/*.data/data; do cp -a "$data"/. "$tmp/deps/onednn/"; done
# The wheel holds the library three times over.
rm -f "$tmp/deps/onednn/lib/libdnnl.so" "$tmp/deps/onednn/lib/"libdnnl.so.3.*
cp "$tmp/x/onnx/onnx.proto" "$tmp/deps/onnx/"
complete "$tmp/deps" || { echo "planish: the wheels do not hold the expected files" >&2; exit 1; }
# Moved as a whole, so that an interrupted run leaves nothing that looks complete.
rm -rf .deps
mv "$tmp/deps" .deps
