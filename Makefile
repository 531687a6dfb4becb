# One word for each job; the scripts say what they do. `make help` lists the words.
SHELL := /bin/bash
PRESET ?= release
SECONDS_EACH ?= 60

.DEFAULT_GOAL := help
.PHONY: help build demo test test-asan test-tsan test-onnx test-models bench-peers bench-gate fuzz test-fresh format check-format tidy
.PHONY: install clean

help:  ## list these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

build:  ## install what is missing and build the programs into build/release/bin
	@scripts/build.sh $(PRESET)

demo:  ## build, then the whole job on real images: engine, accuracy, latency, slowest layers
	@scripts/build.sh release planish
	@demo/run.sh

test:  ## build and run every test (C++ and, when Python packages can be had, the comparisons)
	@scripts/build.sh release
	@scripts/test.sh release

test-asan:  ## the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/build.sh asan-ubsan
	@scripts/test.sh asan-ubsan

test-tsan:  ## the C++ tests under ThreadSanitizer
	@scripts/build.sh tsan
	@scripts/test.sh tsan

test-onnx:  ## the onnx package's backend tests through built engines; prints passed, failed, excluded
	@scripts/build.sh release
	@scripts/setup_venv.sh requirements.txt
	@.venv/bin/python tests/onnx_backend/run.py

test-models:  ## whole networks against ONNX Runtime, in several batch sizes and sequence lengths (minutes)
	@scripts/build.sh release
	@scripts/setup_venv.sh requirements.txt
	@.venv/bin/python -m pytest -q -p no:cacheprovider -m models tests

bench-peers:  ## speed beside ONNX Runtime and OpenVINO (PRECISION="fp32 bf16 int8" MODE="latency batch8 batch16 throughput"); tables, JSON, chart
	@scripts/build.sh release planish bench_machine
	@scripts/setup_venv.sh requirements.txt requirements-bench.txt
	@.venv/bin/python bench/peers.py $(if $(PRECISION),--precision $(PRECISION)) $(if $(MODE),--mode $(MODE))

bench-gate:  ## compare the speed with revision BASE on this machine; fails where more than 10 % slower
	@test -n "$(BASE)" || { echo "make bench-gate: say which revision to compare with, for example BASE=HEAD~1" >&2; exit 1; }
	@scripts/build.sh release planish
	@scripts/setup_venv.sh requirements.txt
	@.venv/bin/python bench/gate.py $(BASE)

fuzz:  ## libFuzzer on the importer and the engine loader, SECONDS_EACH=60 seconds each
	@scripts/build.sh fuzz fuzzers
	@scripts/fuzz.sh $(SECONDS_EACH)

test-fresh:  ## make demo and make test on a bare Debian 12 root (debootstrap and chroot; needs root)
	@scripts/test_fresh.sh

format:  ## format the C++ sources in place
	@scripts/format.sh

check-format:  ## fail when a C++ source is not formatted
	@scripts/format.sh --check

tidy:  ## clang-tidy over the sources (needs clang-tidy)
	@scripts/build.sh release
	@run-clang-tidy -quiet -p build/release '$(CURDIR)/planish/.*\.cpp$$'

install: build  ## copy the programs and libdnnl to PREFIX (default /usr/local)
	@cmake --install build/$(PRESET) --prefix $(or $(PREFIX),/usr/local)

clean:  ## remove what was built (.deps and .venv stay: they were downloads)
	@rm -rf build
