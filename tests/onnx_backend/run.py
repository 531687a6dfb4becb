#!/usr/bin/env python3
"""Runs the backend tests of the installed onnx package through planish and counts what passes.

usage: run.py [--runner PROGRAM] [--cases FOLDER] [--json FILE] [--jobs N] [-k REGEX] [--kind KIND ...] [--round-trip]

Kinds: node, simple, pytorch-converted, pytorch-operator, light. The cases are written to FOLDER once per onnx
version. exclusions.tsv lists what is out of scope, tolerances.tsv what is compared less strictly, with a reason each.
Exit code: 0 when every case that is not excluded passes.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")


def as_proto(value, type_proto):
    """A test value as the message that its declared type asks for."""
    import onnx
    from onnx import numpy_helper

    if isinstance(value, onnx.TensorProto):
        return value
    if type_proto.HasField("sequence_type"):
        return numpy_helper.from_list(value)
    if type_proto.HasField("optional_type"):
        return numpy_helper.from_optional(value)
    return numpy_helper.from_array(value)


def write_node_case(case, folder):
    """model.onnx and test_data_set_*/ for a case that the onnx package generates."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for i, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{i}"
        data.mkdir()
        for kind, values, infos in (("input", inputs, case.model.graph.input),
                                    ("output", outputs, case.model.graph.output)):
            for j, (value, info) in enumerate(zip(values, infos)):
                (data / f"{kind}_{j}.pb").write_bytes(as_proto(value, info.type).SerializeToString())


def write_light_case(case, folder):
    """The light models come with their weights generated and one expected output; the input is a ramp."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    source = pathlib.Path(onnx.__file__).parent.parent / case.url
    folder.mkdir(parents=True)
    shutil.copy(source, folder / "model.onnx")
    data = folder / "test_data_set_0"
    data.mkdir()
    graph = onnx.load(str(source)).graph
    initialisers = {t.name for t in graph.initializer}
    for j, info in enumerate(i for i in graph.input if i.name not in initialisers):
        shape = [d.dim_value if d.HasField("dim_value") else 1 for d in info.type.tensor_type.shape.dim]
        count = int(np.prod(shape))
        ramp = (np.arange(count).reshape(shape) / count).astype(np.float32)
        (data / f"input_{j}.pb").write_bytes(numpy_helper.from_array(ramp).SerializeToString())
    for j in range(len(graph.output)):
        shutil.copy(f"{source.with_suffix('')}_output_{j}.pb", data / f"output_{j}.pb")


def collect(cases_root):
    """All cases as dicts (kind, name, folder, rtol, atol); written once, then read from index.json."""
    index = cases_root / "index.json"
    if index.exists():
        return json.loads(index.read_text())
    from onnx.backend.test import loader

    warnings.simplefilter("ignore")
    partial = cases_root.with_name(cases_root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    rows = []
    for kind in KINDS:
        for case in loader.load_model_tests(kind="real" if kind == "light" else kind):
            folder = pathlib.Path(case.model_dir) if case.model_dir else partial / kind / case.name
            if kind == "node":
                write_node_case(case, folder)
            elif kind == "light":
                write_light_case(case, folder)
            final = str(folder).replace(str(partial), str(cases_root))
            rows.append({"kind": kind, "name": case.name, "folder": final, "rtol": case.rtol, "atol": case.atol})
    (partial / "index.json").write_text(json.dumps(rows))
    shutil.rmtree(cases_root, ignore_errors=True)
    partial.rename(cases_root)
    return rows


def read_table(name):
    """Rows of a .tsv file next to this script, comments left out."""
    lines = (HERE / name).read_text().splitlines()
    return [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]


def run(rows, runner, options, jobs):
    """Adds 'stage' and 'detail' to every row; the work is split over `jobs` processes."""
    by_key = {f"{r['kind']}/{r['name']}": r for r in rows}
    parts = [list(by_key)[i::jobs] for i in range(jobs)]
    with tempfile.TemporaryDirectory() as scratch:
        processes = []
        for i, keys in enumerate(parts):
            listing = pathlib.Path(scratch) / f"cases_{i}.tsv"
            listing.write_text("".join(
                f"{k}\t{by_key[k]['folder']}\t{by_key[k]['rtol']}\t{by_key[k]['atol']}\n" for k in keys))
            output = open(pathlib.Path(scratch) / f"result_{i}.tsv", "w+")
            processes.append((subprocess.Popen([runner, str(listing), *options], stdout=output), output))
        for process, output in processes:
            process.wait()
            output.seek(0)
            for line in output:
                key, stage, detail = line.rstrip("\n").split("\t", 2)
                by_key[key].update(stage=stage, detail=detail)
    for row in rows:
        row.setdefault("stage", "crash")
        row.setdefault("detail", "the runner died")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runner", default=str(ROOT / "build/release/tests/onnx_backend/onnx_backend_runner"))
    ap.add_argument("--cases", help="default: build/onnx_cases/<onnx version>")
    ap.add_argument("--json", help="write counts and every case's outcome to this file")
    ap.add_argument("--jobs", type=int, default=os.cpu_count())
    ap.add_argument("-k", dest="filter", default="", help="only cases whose name matches this regular expression")
    ap.add_argument("--kind", nargs="*", choices=KINDS, default=KINDS)
    ap.add_argument("--executor", choices=["engine", "test-device", "interpreter"], default="engine",
                    help="what runs the models: a built CPU engine, one on the test device, or the reference operators")
    ap.add_argument("--round-trip", action="store_true", help="export and import every model before it runs")
    ap.add_argument("--quiet", action="store_true", help="do not list the failures")
    args = ap.parse_args()

    import onnx

    cases_root = pathlib.Path(args.cases or ROOT / "build/onnx_cases" / onnx.__version__)
    if not os.access(args.runner, os.X_OK):
        sys.exit(f"run.py: {args.runner} does not exist. Build it (ninja onnx_backend_runner), or pass --runner")
    rows = [r for r in collect(cases_root) if r["kind"] in args.kind and re.search(args.filter, r["name"])]
    exclusions = read_table("exclusions.tsv")
    tolerances = read_table("tolerances.tsv")
    active = []
    for row in rows:
        reason = next((why for pattern, why in exclusions if fnmatch.fnmatchcase(row["name"], pattern)), None)
        for pattern, rtol, atol, _ in tolerances:
            if fnmatch.fnmatchcase(row["name"], pattern):
                row.update(rtol=float(rtol), atol=float(atol))
        if reason:
            row.update(stage="excluded", detail=reason)
        else:
            active.append(row)
    run(active, args.runner, [f"--executor={args.executor}"] + ["--round-trip"] * args.round_trip, max(1, args.jobs))

    counts = {}
    for row in rows:
        kind = counts.setdefault(row["kind"], {"passed": 0, "failed": 0, "excluded": 0})
        kind[{"pass": "passed", "excluded": "excluded"}.get(row["stage"], "failed")] += 1
    failures = [r for r in active if r["stage"] != "pass"]
    if not args.quiet:
        for row in failures:
            print(f"FAILED {row['kind']}/{row['name']} [{row['stage']}] {row['detail']}")
    for kind, count in counts.items():
        print(f"{kind:20s} passed {count['passed']:5d}   failed {count['failed']:5d}   excluded {count['excluded']:5d}")
    total = {key: sum(c[key] for c in counts.values()) for key in ("passed", "failed", "excluded")}
    print(f"{'all':20s} passed {total['passed']:5d}   failed {total['failed']:5d}   excluded {total['excluded']:5d}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(
            {"onnx": onnx.__version__, "kinds": counts, "total": total, "cases": rows}, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
