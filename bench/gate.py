#!/usr/bin/env python3
"""Compares the speed of this work tree with that of another revision, and fails where it is more than 10 % slower.

  bench/gate.py BASE [--models NAME...]

BASE is built in a work tree of its own under build/gate. Both programs build their own engines; their rounds are
interleaved, and the medians count. A model that seems slower is measured once more with three times the rounds before
it is believed.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests" / "python")]
import graphs  # noqa: E402
from servers import Planish  # noqa: E402

SHIPPED = ROOT / "demo" / "digits.onnx"
GRAPHS = ["resnet18", "mobilenet_v2", "minilm_l6"]
LIMIT = 1.10


def program_of(revision):
    """Builds the revision and returns its program."""
    commit = subprocess.run(["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], cwd=ROOT, capture_output=True,
                            text=True)
    if commit.returncode != 0:
        sys.exit(f"gate.py: {revision} is no revision of this repository; name a commit, a tag or a branch")
    tree = ROOT / "build" / "gate" / commit.stdout.strip()[:12]
    if not tree.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, commit.stdout.strip()], cwd=ROOT,
                       check=True)
        (tree / ".deps").symlink_to(ROOT / ".deps")
    subprocess.run(["scripts/build.sh", "release", "planish"], cwd=tree, check=True)
    return tree / "build/release/bin/planish"


def medians(engines, shapes, args, rounds):
    """Median latency in ms by program."""
    servers = {key: Planish(program, engine, shapes, args.threads, 1) for key, (program, engine) in engines.items()}
    times = {key: [] for key in servers}
    for _ in range(rounds):
        for key, server in servers.items():
            times[key] += server.round(args.seconds)[0]
    return {key: statistics.median(values) for key, values in times.items()}


def ratio(name, programs, args, folder):
    """Time of this work tree over that of the base."""
    if name == SHIPPED.stem:
        model, shapes = SHIPPED, "image:1x1x32x32"
    else:
        model = graphs.hydrate(name, folder, batch=1)
        shapes = graphs.shapes_text(graphs.make_inputs(name, N=1, S=128))
    engines = {}
    for key, program in programs.items():
        engine = pathlib.Path(folder) / f"{name}.{key}.engine"
        subprocess.run([program, "build", model, "-o", engine, f"--shapes={shapes}", f"--threads={args.threads}",
                        "--no-timing-cache"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        engines[key] = (program, engine)
    for rounds in (args.rounds, 3 * args.rounds):
        found = medians(engines, shapes, args, rounds)
        change = found["this"] / found["base"]
        if change <= LIMIT:
            break
    print(f"  {name:24} {found['base']:8.3f} ms -> {found['this']:8.3f} ms   {change:5.2f}", flush=True)
    return change


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("base")
    ap.add_argument("--models", nargs="*")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=0.5, help="per program and round")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = ap.parse_args()
    models = args.models or [SHIPPED.stem, *(GRAPHS if graphs.names() else [])]
    programs = {"base": program_of(args.base), "this": ROOT / "build/release/bin/planish"}
    folder = tempfile.mkdtemp()
    try:
        slower = [name for name in models if ratio(name, programs, args, folder) > LIMIT]
    finally:
        shutil.rmtree(folder)
    if slower:
        sys.exit(f"gate.py: more than {100 * (LIMIT - 1):.0f} % slower than {args.base}: {', '.join(slower)}")
    print(f"no model is more than {100 * (LIMIT - 1):.0f} % slower than {args.base}")


if __name__ == "__main__":
    main()
