#!/usr/bin/env python3
"""Peak resident memory of planish beside ONNX Runtime: batch 1, FP32, from loading to the end of five inferences.

planish: the whole process of `planish bench` on an engine file (built beforehand), its libraries included.
ONNX Runtime: the same of a Python process (session from the ONNX file, then the inferences), less what that process held
after `import numpy, onnxruntime` and reading the inputs. Both are the kernel's own maximum (VmHWM). So everything of planish
counts, and of ONNX Runtime what exceeds its loaded library.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))
import graphs  # noqa: E402

SEQUENCE = 128
INFERENCES = 5


def resident_mib(field):
    """VmHWM (peak) or VmRSS (now) of this process."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    sys.exit("memory.py: the kernel does not tell resident memory")


def serve(model, feeds_file, threads):
    """Child process: what ONNX Runtime needs above its imports."""
    import numpy as np
    import onnxruntime
    feeds = dict(np.load(feeds_file))
    before = resident_mib("VmRSS")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for _ in range(INFERENCES):
        session.run(None, feeds)
    print(json.dumps(resident_mib("VmHWM") - before))


# A process inherits the peak of the one that started it, so a small interpreter starts the program. Its last line on
# standard output is the peak in KiB.
STARTER = """import os, sys
null = os.open(os.devnull, os.O_WRONLY)
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss)
sys.exit(0 if status == 0 else 1)"""


def peak_of(command):
    """Peak resident MiB of a program run to its end."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", STARTER, *map(str, command)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"memory.py: {' '.join(map(str, command))} failed:\n{done.stderr}")
    return int(done.stdout) / 1024


def measure(name, args, folder):
    import numpy as np
    model = graphs.hydrate(name, folder, batch=1)
    feeds = graphs.make_inputs(name, N=1, S=SEQUENCE)
    feeds_file = folder / f"{name}.npz"
    np.savez(feeds_file, **feeds)
    shapes = ",".join(f"{key}:{'x'.join(map(str, value.shape))}" for key, value in feeds.items())
    engine = folder / f"{name}.engine"
    subprocess.run([args.program, "build", model, "-o", engine, f"--shapes={shapes}", f"--threads={args.threads}"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ours = peak_of([args.program, "bench", engine, f"--shapes={shapes}", "--warmUp=0", "--duration=0",
                    f"--iterations={INFERENCES}", f"--threads={args.threads}"])
    peer = subprocess.run([sys.executable, __file__, "--serve", model, feeds_file, "--threads", str(args.threads)],
                          check=True, capture_output=True, text=True)
    for file in [engine, model, feeds_file]:
        file.unlink()
    return ours, json.loads(peer.stdout)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default=str(ROOT / "build/release/bin/planish"))
    ap.add_argument("--models", nargs="*", default=graphs.names())
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.serve:
        return serve(*args.serve, args.threads)
    if not args.models:
        print("memory.py: skipped: ../shared/models/graphs is not here, and the project ships no large models")
        return 0
    print("| Model | planish MiB | ONNX Runtime MiB | ratio |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            ours, peer = measure(name, args, pathlib.Path(folder))
            print(f"| {name} | {ours:.1f} | {peer:.1f} | {ours / peer:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
