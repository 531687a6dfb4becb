#!/usr/bin/env bash
# Fetches what distributions do not carry into .deps/ (ignored by git): oneDNN and the ONNX schema, from PyPI wheels.
# Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."
onednn=2023.2.0   # oneDNN 3.2
onnx=1.23.2
if [ -e .deps/onednn/lib/libdnnl.so.3 ] && [ -e .deps/onnx/onnx.proto ]; then exit 0; fi
echo "planish: fetching oneDNN $onednn and the ONNX schema $onnx into .deps/"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
pip() { python3 -m pip --disable-pip-version-check "$@"; }
pip download -q --no-deps --only-binary=:all: -d "$tmp" "onednn-cpu-gomp==$onednn" "onednn-devel-cpu-gomp==$onednn"
pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --abi cp312 --platform manylinux_2_27_x86_64 \
  --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 -d "$tmp" "onnx==$onnx"
mkdir -p "$tmp/x"
for w in "$tmp"/*.whl; do python3 -m zipfile -e "$w" "$tmp/x"; done
data=("$tmp"/x/onednn_cpu_gomp-*.data/data "$tmp"/x/onednn_devel_cpu_gomp-*.data/data)
rm -rf .deps/onednn .deps/onnx
mkdir -p .deps/onednn .deps/onnx
for d in "${data[@]}"; do cp -a "$d"/. .deps/onednn/; done
cp "$tmp/x/onnx/onnx.proto" .deps/onnx/
test -e .deps/onednn/lib/libdnnl.so.3 -a -e .deps/onednn/include/oneapi/dnnl/dnnl.hpp -a -e .deps/onnx/onnx.proto
