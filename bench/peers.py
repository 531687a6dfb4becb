#!/usr/bin/env python3
"""Speed of planish beside ONNX Runtime and OpenVINO: batch 1, all cores, FP32 or (--precision=int8) INT8.

Every engine runs in a process of its own that is built once and then asked for rounds; rounds of all are
interleaved, so that whatever else the machine does hits all of them. Prints a table (text and Markdown) and writes JSON.
A ratio above 1 means that planish is faster than the better peer.

INT8: the peers run the file that ONNX Runtime's quantize_static writes (Q/DQ, per channel, 7-bit weights, unsigned
activations). planish runs an engine of its own calibration, and as `planish_qdq` the very same file.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))
import graphs  # noqa: E402

MODELS = ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "squeezenet1_1", "minilm_l6",
          "timm_deit_tiny_patch16_224", "convnext_tiny", "yolov8n", "bert_base"]
SEQUENCE = 128
CALIBRATION_SAMPLES = 4  # speed does not depend on how good the ranges are


def planish_round(program, engine, shapes, seconds, threads):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run([program, "bench", engine, f"--shapes={shapes}", "--warmUp=200", f"--duration={seconds}",
                        f"--threads={threads}", f"--json={report.name}"], check=True, stdout=subprocess.DEVNULL)
        return json.loads(pathlib.Path(report.name).read_text())["latencies_ms"]


def timed(run, seconds):
    """Latencies in ms of `run`, after a warm-up of 0.2 s."""
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        run()
    out = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(out) < 5:
        begin = time.perf_counter()
        run()
        out.append((time.perf_counter() - begin) * 1e3)
    return out


def serve(peer, model, feeds_file, threads):
    """Child process: loads the model once, then times a round for every line on standard input."""
    import numpy as np
    feeds = dict(np.load(feeds_file))
    if peer == "onnxruntime":
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        run = lambda: session.run(None, feeds)  # noqa: E731
    else:
        import openvino
        core = openvino.Core()
        network = core.read_model(model)
        network.reshape({name: list(value.shape) for name, value in feeds.items()})
        compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY",
                                                       "INFERENCE_NUM_THREADS": threads})
        request = compiled.create_infer_request()
        run = lambda: request.infer(feeds)  # noqa: E731
    for line in sys.stdin:
        print(json.dumps(timed(run, float(line))), flush=True)


def quantize(model, name, target):
    """Child process: what ONNX Runtime's own tools make of the model for INT8."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.feeds = iter([graphs.make_inputs(name, seed=i, N=1, S=SEQUENCE) for i in range(CALIBRATION_SAMPLES)])

        def get_next(self):
            return next(self.feeds, None)

    tidy = f"{target}.tidy"
    quant_pre_process(model, tidy, skip_symbolic_shape=True)
    quantize_static(tidy, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    os.remove(tidy)


def peak_gflops(seconds=1.0):
    """Single-precision GFLOP/s that a large matrix product reaches here: the machine's practical limit."""
    import numpy as np
    n = 2048
    a = np.random.rand(n, n).astype(np.float32)
    b = np.random.rand(n, n).astype(np.float32)
    return 2 * n**3 / min(timed(lambda: a @ b, seconds)) / 1e6


def build(model, engine, shapes, args, *options):
    """Builds an engine and returns the seconds that it took."""
    begin = time.perf_counter()
    subprocess.run([args.program, "build", model, "-o", engine, f"--shapes={shapes}", f"--threads={args.threads}",
                    "--no-timing-cache", *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def build_all(name, model, shapes, args, folder):
    """Engines of planish by the name of their column, the file that the peers run, and the seconds of the first build."""
    import numpy as np
    engine = folder / f"{name}.engine"
    if args.precision == "fp32":
        return {"planish": engine}, model, build(model, engine, shapes, args)
    quantized = folder / f"{name}_qdq.onnx"
    if not quantized.exists():
        subprocess.run([sys.executable, __file__, "--quantize", model, name, quantized], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples = [graphs.make_inputs(name, seed=i, N=1, S=SEQUENCE) for i in range(CALIBRATION_SAMPLES)]
    data = folder / f"{name}_samples.npz"
    np.savez(data, **{key: np.concatenate([s[key] for s in samples]) for key in samples[0]})
    seconds = build(model, engine, shapes, args, "--int8", f"--calib={data}",
                    f"--calib-cache={folder / name}.cache")
    data.unlink()
    same_file = folder / f"{name}_qdq.engine"
    build(quantized, same_file, shapes, args, "--int8")
    return {"planish": engine, "planish_qdq": same_file}, quantized, seconds


def measure(name, args, folder):
    import numpy as np
    model = graphs.hydrate(name, folder, batch=1)
    feeds = graphs.make_inputs(name, N=1, S=SEQUENCE)
    feeds_file = folder / f"{name}.npz"
    np.savez(feeds_file, **feeds)
    shapes = ",".join(f"{key}:{'x'.join(map(str, value.shape))}" for key, value in feeds.items())
    engines, peers_model, build_s = build_all(name, model, shapes, args, folder)
    peers = {peer: subprocess.Popen([sys.executable, __file__, "--serve", peer, peers_model, feeds_file, "--threads",
                                     str(args.threads)],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
             for peer in args.peers}
    times = {key: [] for key in [*engines, *peers]}
    for _ in range(args.rounds):
        for key, engine in engines.items():
            times[key] += planish_round(args.program, engine, shapes, args.seconds, args.threads)
        for peer, process in peers.items():
            process.stdin.write(f"{args.seconds}\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                sys.exit(f"peers.py: {peer} failed on {name}")
            times[peer] += json.loads(line)
    for process in peers.values():
        process.stdin.close()
        process.wait()
    for file in [*engines.values(), model]:
        file.unlink()
    row = {"model": name, "build_s": build_s}
    for key, values in times.items():
        row[key + "_ms"] = statistics.median(values)
        row[key + "_min_ms"] = min(values)
    best_peer = min(row[p + "_ms"] for p in peers)
    row["ratio"] = best_peer / row["planish_ms"]
    if "planish_qdq" in engines:
        row["ratio_qdq"] = best_peer / row["planish_qdq_ms"]
    return row


def table(rows, peers, left, right, rule):
    same_file = "ratio_qdq" in rows[0]
    head = ["model", "planish ms", *(["same file ms"] if same_file else []), *(f"{p} ms" for p in peers),
            "best peer / planish", *(["best peer / same file"] if same_file else []), "build s"]
    body = [[r["model"], f"{r['planish_ms']:.2f}", *([f"{r['planish_qdq_ms']:.2f}"] if same_file else []),
             *(f"{r[p + '_ms']:.2f}" for p in peers), f"{r['ratio']:.2f}",
             *([f"{r['ratio_qdq']:.2f}"] if same_file else []), f"{r['build_s']:.1f}"] for r in rows]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = [left + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + right for line in [head, *body]]
    return "\n".join([lines[0], *([left + " | ".join("-" * w for w in widths) + right] if rule else []), *lines[1:]])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default=str(ROOT / "build/release/bin/planish"))
    ap.add_argument("--models", nargs="*", default=MODELS)
    ap.add_argument("--peers", nargs="*", default=["onnxruntime", "openvino"], choices=["onnxruntime", "openvino"])
    ap.add_argument("--precision", default="fp32", choices=["fp32", "int8"])
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=1.5, help="per engine and round")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--json", default=str(ROOT / "build/bench_peers.json"))
    ap.add_argument("--folder", help="keep files there; a NAME_qdq.onnx that it holds is not made again")
    ap.add_argument("--quantize", nargs=3, help=argparse.SUPPRESS)
    ap.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.serve:
        return serve(*args.serve, args.threads)
    if args.quantize:
        return quantize(*args.quantize)
    if not graphs.names():
        print("peers.py: skipped: ../shared/models/graphs is not here, and the project ships no large models")
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(args.folder or temporary)
        for name in args.models:
            rows.append(measure(name, args, folder))
            print(f"  {name}: {rows[-1]['ratio']:.2f}", flush=True)
    mean = statistics.geometric_mean(r["ratio"] for r in rows)
    peak = peak_gflops()
    print("\n" + table(rows, args.peers, "", "", False))
    print(f"\ngeometric mean of best peer / planish, {args.precision}: {mean:.3f} on {args.threads} threads; "
          f"a 2048x2048 matrix product reaches {peak:.0f} GFLOP/s\n")
    print(table(rows, args.peers, "| ", " |", True))
    pathlib.Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.json).write_text(json.dumps({"rows": rows, "precision": args.precision, "geometric_mean": mean,
                                                   "threads": args.threads,
                                                   "peak_gflops": peak}, indent=1))
    print(f"\nwritten to {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
