"""Files and log lines against the real polygraphy package, both ways; skipped where it is not installed."""
import re
import subprocess
import sys

import numpy as np
import pytest
import test_polygraphy_run as run

pytest.importorskip("polygraphy")
pytest.importorskip("onnxruntime")

MODEL = run.MODEL
SHAPE = run.SHAPE


def real(*arguments, code=0):
    """Runs the package's own command line."""
    program = "import sys; from polygraphy.tools import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return "\n".join(line for line in done.stdout.splitlines() if "'colored' module" not in line)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Inputs and outputs that the package wrote, and the outputs with one value changed and one zeroed."""
    folder = tmp_path_factory.mktemp("polygraphy")
    real("run", MODEL, "--onnxrt", "--input-shapes", SHAPE, "--iterations", 2, "--save-inputs", folder / "i.json",
         "--save-outputs", folder / "o.json")
    from polygraphy.json import load_json, save_json
    results = load_json(str(folder / "o.json"))
    for _, iterations in results.items():
        for iteration in iterations:
            values = iteration["logits"].copy()
            values[0, 3] += 1e-3
            values[1, 2] = 0
            iteration["logits"] = values
    save_json(results, str(folder / "bad.json"))
    return folder


def normalised(log):
    """Lines from the comparison on, without runner names (they hold the time), paths and the frame."""
    start = log.find("[I] Accuracy Comparison")
    text = re.sub(r"(onnxrt|trt)-runner-N\d-[\d/]+-[\d:]+", "RUNNER", log[start:])
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if not re.match(r"\[.\] (PASSED|FAILED) \| Runtime|\[I\] Streaming|\[W\] Saving", line)
            and "Inference Input(s)" not in line and "{image [" not in line and not line.startswith("[I] Saving")]


# Older NumPy takes quantiles in the data's type, planish like the newer one in f64: their last digit may differ.
ROUNDED_QUANTILES = tuple(map(int, np.__version__.split(".")[:2])) < (2, 3)
QUANTILE = re.compile(r"\b(p\d+|abs|rel)=([0-9.e+-]+)")


def assert_same_lines(have, want):
    if not ROUNDED_QUANTILES:
        assert have == want
        return
    assert [QUANTILE.sub(r"\1", line) for line in have] == [QUANTILE.sub(r"\1", line) for line in want]
    values = [[float(value) for line in lines for _, value in QUANTILE.findall(line)] for lines in (have, want)]
    np.testing.assert_allclose(*values, rtol=1.1e-4)  # one step of the fifth digit


COMPARISONS = [
    [], ["--compare", "l2", "cosine_similarity", "psnr", "snr"], ["--check-error-stat", "max"],
    ["--check-error-stat", "quantile", "--error-quantile", "0.9", "--rtol", "1e-9", "--atol", "1e-9", "logits:1e-8"],
    ["--check-error-stat", "median"], ["--compare", "indices", "--postprocess", "top-3"], ["--fail-fast"],
    ["--compare", "l2", "--check-average"],
]


@pytest.mark.parametrize("arguments", COMPARISONS, ids=" ".join)
def test_same_comparison_log(files, arguments):
    common = ["run", MODEL, "--onnxrt", "--load-inputs", files / "i.json", "--load-outputs", files / "bad.json",
              *arguments]
    passes = "median" in arguments or "indices" in arguments
    want = normalised(real(*common, code=0 if passes else 1))
    have = normalised(run.polygraphy(*common, code=0 if passes else 1))
    assert_same_lines(have, want)


@pytest.mark.parametrize("arguments", [[], ["-a"], ["-s"], ["-s", "-n", "2", "--histogram", "-a"],
                                       ["-s", "-n", "1", "--line-width", "40"]], ids=" ".join)
@pytest.mark.parametrize("name", ["i.json", "o.json"])
def test_same_inspect_data(files, name, arguments):
    have = run.polygraphy("inspect", "data", files / name, *arguments).rstrip("\n").splitlines()
    assert_same_lines(have, real("inspect", "data", files / name, *arguments).splitlines())


def test_the_package_reads_our_files(files, tmp_path):
    from polygraphy.comparator import RunResults
    from polygraphy.json import load_json
    run.polygraphy("run", MODEL, "--trt", "--load-inputs", files / "i.json", "--save-inputs", tmp_path / "i.json",
                   "--save-outputs", tmp_path / "o.json", "--trt-opt-shapes", SHAPE)
    inputs = load_json(str(tmp_path / "i.json"))
    for ours, theirs in zip(inputs, load_json(str(files / "i.json"))):
        np.testing.assert_array_equal(ours["image"], theirs["image"])
    results = load_json(str(tmp_path / "o.json"))
    assert isinstance(results, RunResults) and len(results[0][1]) == 2
    assert results[0][1][0].runner_name.startswith("trt-runner-N0-")
    real("run", MODEL, "--onnxrt", "--load-inputs", tmp_path / "i.json", "--load-outputs", tmp_path / "o.json", "--atol",
         "1e-3")
    run.polygraphy("run", MODEL, "--trt", "--input-shapes", SHAPE, "--save-outputs", tmp_path / "folder")
    assert "1 iterations" in real("inspect", "data", tmp_path / "folder")


def test_the_package_reads_our_accuracy_results(files, tmp_path):
    run.polygraphy("run", MODEL, "--onnxrt", "--load-inputs", files / "i.json", "--load-outputs", files / "bad.json",
                   "--compare", "simple", "l2", "psnr", "--save-accuracy-results", tmp_path / "a.json", code=1)
    text = real("inspect", "data", tmp_path / "a.json")
    assert "==== Accuracy Results (3 comparison(s)) ====" in text and "logits | FAILED | l2_norm=" in text
    for arguments in [], ["--all"]:
        ours = run.polygraphy("inspect", "data", tmp_path / "a.json", *arguments).splitlines()
        theirs = real("inspect", "data", tmp_path / "a.json", *arguments).splitlines()
        assert [line.strip() for line in ours if line.strip()] == [line.strip() for line in theirs if line.strip()]


def test_same_merged_inputs(files, tmp_path):
    # One iteration: with more, the package writes the last one in place of all.
    one = [tmp_path / "one_o.json", tmp_path / "one_i.json"]
    real("run", MODEL, "--onnxrt", "--save-outputs", one[0], "--save-inputs", one[1])
    run.polygraphy("data", "merge", *one, "-o", tmp_path / "ours.json")
    real("data", "merge", *one, "-o", tmp_path / "theirs.json")
    assert (tmp_path / "ours.json").read_text() == (tmp_path / "theirs.json").read_text()
    run.polygraphy("data", "to-input", files / "o.json", "-o", tmp_path / "older.json")
    run.polygraphy("data", "concat", files / "i.json", files / "i.json", "-o", tmp_path / "four.json")
    assert "==== Data (4 iterations) ====" in real("inspect", "data", tmp_path / "four.json")


@pytest.mark.parametrize("seed, value_range", [(1, "[0,1]"), (7, "[-3,5.5]")])
def test_same_random_inputs(tmp_path, seed, value_range):
    common = ["run", MODEL, "--onnxrt", "--seed", seed, "--val-range", value_range, "--iterations", 2]
    run.polygraphy(*common, "--save-inputs", tmp_path / "ours.json")
    real(*common, "--save-inputs", tmp_path / "theirs.json")
    assert (tmp_path / "ours.json").read_text() == (tmp_path / "theirs.json").read_text()


def test_same_seed_same_integers(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    types = {"a": kinds.INT64, "b": kinds.INT32, "c": kinds.BOOL, "d": kinds.UINT8, "e": kinds.FLOAT16, "f": kinds.DOUBLE}
    inputs = [helper.make_tensor_value_info(name, kind, [3, 5]) for name, kind in types.items()]
    outputs = [helper.make_tensor_value_info(name + "_", kind, [3, 5]) for name, kind in types.items()]
    nodes = [helper.make_node("Identity", [name], [name + "_"]) for name in types]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs),
                                opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    common = ["run", tmp_path / "m.onnx", "--onnxrt", "--val-range", "[0,100]", "--seed", 9, "--iterations", 2]
    run.polygraphy(*common, "--save-inputs", tmp_path / "ours.json")
    real(*common, "--save-inputs", tmp_path / "theirs.json")
    assert (tmp_path / "ours.json").read_text() == (tmp_path / "theirs.json").read_text()
