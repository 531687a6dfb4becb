#!/usr/bin/env bash
# The whole job on one screen: build an engine from an ONNX file, measure its accuracy on real images, then its latency
# and its slowest layers, and put FP32, FP16, BF16 and INT8 side by side. Runs anywhere, writes to build/demo/ only.
# `make demo` builds the programs first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${PLANISH_BIN:-$here/../build/release/bin}
out=$here/../build/demo
mkdir -p "$out"
PATH=$(cd "$bin" && pwd):$PATH
cd "$here"

step() {
  printf '\n== %s\n' "$1"
  shift
  printf '$ %s\n' "$*"
  "$@"
}

step "1. An engine from an ONNX file (batch norms folded, tactics timed on this machine)" \
  planish build digits.onnx -o ../build/demo/digits.engine --minShapes=image:1x1x32x32 \
  --optShapes=image:1x1x32x32 --maxShapes=image:32x1x32x32
step "2. Its accuracy on handwritten digits it was not trained on (training said: $(cat accuracy.txt))" \
  planish eval ../build/demo/digits.engine --data images/labels.csv --preprocess preprocess.json
step "3. Its latency and its slowest layers (the whole report is in build/demo/trtexec.log)" \
  trtexec --loadEngine=../build/demo/digits.engine --shapes=image:1x1x32x32 --warmUp=200 --duration=2 --avgRuns=1000 \
  --dumpProfile >"$out/trtexec.log"
sed -n '/=== Performance summary/,/Total GPU Compute/p; /=== Profile/,/Total$/p' "$out/trtexec.log" | sed 's/^\[[^]]*\] \[[A-Z]\] //'
step "4. FP32, FP16, BF16 and INT8 side by side (INT8 is calibrated on 100 training digits; the cache can be used again)" \
  planish compare-precisions digits.onnx --calib=calibration --calib-cache=../build/demo/digits.cache \
  --eval=images/labels.csv --preset=preprocess.json --duration=1 --save=../build/demo
printf '\nThe engine is build/demo/digits.engine. Now try your own: trtexec --onnx=model.onnx --saveEngine=model.engine\n'
