"""The runtimes under comparison. Each is a process of its own that loads its network once and then answers rounds, so
that rounds of all can be interleaved. Started as a program, this file is the process of a peer."""
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

WARM_UP_S = 0.2


class Planish:
    """An engine file, run by `planish bench` anew for every round."""

    def __init__(self, program, engine, shapes, threads, streams):
        self.command = [program, "bench", engine, f"--shapes={shapes}", f"--warmUp={WARM_UP_S * 1e3:.0f}",
                        f"--threads={threads}", f"--streams={streams}"]

    def round(self, seconds):
        """Latencies in ms, and queries per second."""
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            subprocess.run([*self.command, f"--duration={seconds}", f"--json={report.name}"], check=True,
                           stdout=subprocess.DEVNULL)
            told = json.loads(pathlib.Path(report.name).read_text())
        return told["latencies_ms"], told["queries_per_second"]

    def close(self):
        pass


class PeerFailed(Exception):
    """A peer cannot run the network: who, and its last words."""


class Peer:
    """ONNX Runtime or OpenVINO in a child process. Raises PeerFailed where that ends early."""

    def __init__(self, name, model, feeds_file, precision, threads, streams):
        self.name = name
        self.words = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, __file__, name, model, feeds_file, precision, str(threads), str(streams)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, text=True)
        # Not before the peer is done with compiling: it would slow down whoever is measured meanwhile.
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return line
        code = self.process.wait()
        self.words.seek(0)
        words = [text.strip() for text in self.words if text.strip()]
        cause = f"ended by signal {-code}" if code < 0 else words[-1] if words else f"ended with {code}"
        raise PeerFailed(f"{self.name} failed: {cause}")

    def round(self, seconds):
        try:
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says why
        return json.loads(self.answer())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def timed(run, seconds):
    """Latencies in ms of `run`, one query at a time, and queries per second."""
    end = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < end:
        run()
    out = []
    start = time.perf_counter()
    while time.perf_counter() < start + seconds or len(out) < 5:
        begin = time.perf_counter()
        run()
        out.append((time.perf_counter() - begin) * 1e3)
    return out, len(out) / (time.perf_counter() - start)


def timed_together(runs, seconds):
    """The same with one thread for each of `runs`."""
    answers = [None] * len(runs)

    def work(i):
        answers[i] = timed(runs[i], seconds)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(runs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum((latencies for latencies, _ in answers), []), sum(rate for _, rate in answers)


def onnxruntime_round(model, feeds, threads, streams):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, threads // streams)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    run = lambda: session.run(None, feeds)  # noqa: E731
    return lambda seconds: timed(run, seconds) if streams == 1 else timed_together([run] * streams, seconds)


def openvino_round(model, feeds, precision, threads, streams):
    import openvino
    core = openvino.Core()
    network = core.read_model(model)
    network.reshape({name: list(value.shape) for name, value in feeds.items()})
    compiled = core.compile_model(network, "CPU", {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT", "INFERENCE_NUM_THREADS": threads})
    requests = [compiled.create_infer_request() for _ in range(streams)]
    runs = [lambda r=r: r.infer(feeds) for r in requests]
    return lambda seconds: timed(runs[0], seconds) if streams == 1 else timed_together(runs, seconds)


def main():
    import numpy as np
    name, model, feeds_file, precision, threads, streams = sys.argv[1:]
    feeds = dict(np.load(feeds_file))
    if name == "onnxruntime":
        answer = onnxruntime_round(model, feeds, int(threads), int(streams))
    else:
        answer = openvino_round(model, feeds, precision, int(threads), int(streams))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(float(line))), flush=True)


if __name__ == "__main__":
    main()
