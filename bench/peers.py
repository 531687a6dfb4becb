#!/usr/bin/env python3
"""Speed of planish beside ONNX Runtime and OpenVINO, all cores.

  --mode latency      batch 1, one query at a time
         batchN       the same with N samples in a query, for example batch8
         throughput   batch 1, as many queries at a time as there are threads, one thread each
  --precision fp32    bf16 (where a peer has no such mode it runs its FP32), int8

Every engine is built once and then asked for rounds; rounds of all are interleaved, so that whatever else the machine
does hits all of them; medians count. A ratio above 1 means that planish is faster than the better peer. "share of
limit": the time that the machine needs at least (multiply-adds at the processor's peak, or reading the weights at the
memory's rate, whichever is longer; both measured in the same run) divided by what planish took. "scaling": queries per
second of all threads over those of one, divided by the number of threads.

INT8: the peers run the file that ONNX Runtime's quantize_static writes (Q/DQ, per channel, 7-bit weights, unsigned
activations). planish runs an engine of its own calibration, and as `same file` the very same file.

Prints tables (text and Markdown) and writes JSON and, where matplotlib is installed, a chart.
"""
import argparse
import functools
import importlib.util
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests" / "python")]
import graphs  # noqa: E402
import report  # noqa: E402
from servers import Peer, PeerFailed, Planish  # noqa: E402

MODELS = ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "squeezenet1_1", "minilm_l6",
          "timm_deit_tiny_patch16_224", "convnext_tiny", "yolov8n", "bert_base"]
SEQUENCE = 128
CALIBRATION_SAMPLES = 4  # speed does not depend on how good the ranges are
BUILD_OPTIONS = {"fp32": [], "bf16": ["--bf16"], "int8": ["--int8"]}
WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}  # of each weight


def quantize(model, name, target, batch):
    """Child process: what ONNX Runtime's own tools make of the model for INT8."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.feeds = iter([graphs.make_inputs(name, seed=i, N=int(batch), S=SEQUENCE)
                               for i in range(CALIBRATION_SAMPLES)])

        def get_next(self):
            return next(self.feeds, None)

    tidy = f"{target}.tidy"
    quant_pre_process(model, tidy, skip_symbolic_shape=True)
    quantize_static(tidy, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    os.remove(tidy)


def build(model, engine, shapes, threads, args, *options):
    """Builds an engine and returns the seconds that it took."""
    begin = time.perf_counter()
    subprocess.run([args.program, "build", model, "-o", engine, f"--shapes={shapes}", f"--threads={threads}",
                    "--no-timing-cache", *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def build_all(name, model, shapes, case, args, folder):
    """Engines of planish by the name of their column, the file that the peers run, and the seconds of the first build."""
    import numpy as np
    engine = folder / f"{name}.{case.precision}.engine"
    if case.precision != "int8":
        return {"planish": engine}, model, build(model, engine, shapes, case.threads_each, args,
                                                 *BUILD_OPTIONS[case.precision])
    quantized = folder / f"{name}_qdq.onnx"
    if not quantized.exists():
        subprocess.run([sys.executable, __file__, "--quantize", model, name, quantized, str(case.batch)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples = [graphs.make_inputs(name, seed=i, N=case.batch, S=SEQUENCE) for i in range(CALIBRATION_SAMPLES)]
    data = folder / f"{name}_samples.npz"
    np.savez(data, **{key: np.concatenate([s[key] for s in samples]) for key in samples[0]})
    seconds = build(model, engine, shapes, case.threads_each, args, "--int8", f"--calib={data}",
                    f"--calib-cache={folder / name}.cache")
    data.unlink()
    same_file = folder / f"{name}_qdq.engine"
    build(quantized, same_file, shapes, case.threads_each, args, "--int8")
    return {"planish": engine, "planish_qdq": same_file}, quantized, seconds


def mode_name(text):
    if re.fullmatch("latency|throughput|batch[1-9][0-9]*", text):
        return text
    raise argparse.ArgumentTypeError(f"{text}: give latency, throughput or batchN, for example batch8")


class Case:
    """One precision in one mode."""

    def __init__(self, precision, mode, threads):
        self.precision, self.mode, self.threads = precision, mode, threads
        self.batch = int(mode[5:]) if mode.startswith("batch") else 1
        self.streams = threads if mode == "throughput" else 1
        self.threads_each = threads // self.streams


def least_seconds(program, engine, model, precision, machine):
    """What the machine needs at least for one query."""
    told = json.loads(subprocess.run([program, "inspect", engine, "--layers", "--json"], check=True,
                                     capture_output=True).stdout)
    peak = machine[{"fp32": "fp32_gflops", "bf16": "bf16_gflops", "int8": "int8_gops"}[precision]]
    arithmetic = sum(layer["flops"] for layer in told["layers"]) / ((peak or machine["fp32_gflops"]) * 1e9)
    weights = model.stat().st_size * WEIGHT_BYTES[precision] / 4
    return max(arithmetic, weights / (machine["read_gb_s"] * 1e9))


def interleaved(starts, args):
    """Latencies in ms and rates in queries per second of all that `starts` starts; peers that fail are left out."""
    servers, times, rates = {}, {}, {}
    for turn in range(args.rounds + 1):
        for key, start in starts.items():
            try:
                if turn == 0:
                    servers[key] = start()
                elif key in servers:
                    latencies, rate = servers[key].round(args.seconds)
                    times.setdefault(key, []).extend(latencies)
                    rates.setdefault(key, []).append(rate)
            except PeerFailed as fault:
                print(f"  {fault}", flush=True)
                servers.pop(key, None)
                times.pop(key, None)
    for server in servers.values():
        server.close()
    return times, rates


def measure(name, case, machine, args, folder):
    """A row of the table; None where no peer runs the network."""
    import numpy as np
    folder = folder / f"batch{case.batch}"
    folder.mkdir(parents=True, exist_ok=True)
    model = graphs.hydrate(name, folder, batch=case.batch)
    feeds = graphs.make_inputs(name, N=case.batch, S=SEQUENCE)
    feeds_file = folder / f"{name}.npz"
    np.savez(feeds_file, **feeds)
    shapes = graphs.shapes_text(feeds)
    engines, peers_model, build_s = build_all(name, model, shapes, case, args, folder)
    starts = {key: functools.partial(Planish, args.program, engine, shapes, case.threads, case.streams)
              for key, engine in engines.items()}
    if case.streams > 1:
        starts["one"] = functools.partial(Planish, args.program, engines["planish"], shapes, 1, 1)
    for peer in args.peers:
        starts[peer] = functools.partial(Peer, peer, peers_model, feeds_file, case.precision, case.threads, case.streams)
    times, rates = interleaved(starts, args)
    row = {"model": name, "precision": case.precision, "mode": case.mode, "build_s": build_s}
    for key in times:
        row[f"{key}_ms"] = statistics.median(times[key])
        row[f"{key}_min_ms"] = min(times[key])
        row[f"{key}_qps"] = statistics.median(rates[key])
    least = least_seconds(args.program, engines["planish"], model, case.precision, machine)
    if case.mode == "throughput":
        speed = {key: row[f"{key}_qps"] for key in times}
        row["scaling"] = speed["planish"] / speed["one"] / case.threads
    else:
        speed = {key: 1e3 / row[f"{key}_ms"] for key in times}
    row["share"] = least * speed["planish"]
    for file in [*engines.values(), model]:
        file.unlink()
    best_peer = max((speed[peer] for peer in args.peers if peer in speed), default=None)
    if best_peer is None:
        return None
    row["ratio"] = speed["planish"] / best_peer
    if "planish_qdq" in engines:
        row["ratio_qdq"] = speed["planish_qdq"] / best_peer
    return row


def show(rows, machine, args):
    for markdown in (False, True):
        for (precision, mode), part in report.groups(rows).items():
            print(f"\n{report.title(precision, mode, part)}\n\n{report.table(part, args.peers, markdown)}")
    print(f"\nmachine: {json.dumps(machine)}")
    pathlib.Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    means = {f"{precision} {mode}": statistics.geometric_mean(row["ratio"] for row in part)
             for (precision, mode), part in report.groups(rows).items()}
    pathlib.Path(args.json).write_text(json.dumps({"rows": rows, "geometric_means": means, "machine": machine},
                                                  indent=1))
    print(f"written to {args.json}")
    if importlib.util.find_spec("matplotlib"):
        picture = pathlib.Path(args.chart or pathlib.Path(args.json).with_suffix(".svg"))
        report.chart(rows, args.peers, machine, picture)
        print(f"drawn in {picture}")
    else:
        print("no chart: matplotlib is not installed")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default=str(ROOT / "build/release/bin/planish"))
    ap.add_argument("--models", nargs="*", default=MODELS)
    ap.add_argument("--peers", nargs="*", default=["onnxruntime", "openvino"], choices=["onnxruntime", "openvino"])
    ap.add_argument("--precision", nargs="*", default=["fp32"], choices=["fp32", "bf16", "int8"])
    ap.add_argument("--mode", nargs="*", default=["latency"], type=mode_name)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=1.5, help="per engine and round")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--json", default=str(ROOT / "build/bench_peers.json"))
    ap.add_argument("--chart", help="picture, for example speed.png (default: beside the JSON file, SVG)")
    ap.add_argument("--folder", help="keep files there; a NAME_qdq.onnx that it holds is not made again")
    ap.add_argument("--quantize", nargs=4, help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.quantize:
        return quantize(*args.quantize)
    if not graphs.names():
        print("peers.py: skipped: ../shared/models/graphs is not here, and the project ships no large models")
        return 0
    bench_machine = pathlib.Path(args.program).with_name("bench_machine")
    if not bench_machine.exists():
        return f"peers.py: {bench_machine} is not built; `make bench-peers` builds it"
    machine = json.loads(subprocess.run([bench_machine, str(args.threads)],
                                        check=True, capture_output=True).stdout)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(args.folder or temporary)
        for precision in args.precision:
            for mode in args.mode:
                for name in args.models:
                    row = measure(name, Case(precision, mode, args.threads), machine, args, folder)
                    rows += [row] if row else []
                    told = f"{row['ratio']:.2f}" if row else "left out, no peer runs it"
                    print(f"  {precision} {mode} {name}: {told}", flush=True)
    if not rows:
        return "peers.py: no peer runs any of the networks; see above for what they said"
    show(rows, machine, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
