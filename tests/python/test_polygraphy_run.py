"""polygraphy run, convert, inspect data, data merge and debug precision on real models, beside ONNX Runtime."""
import json
import os
import subprocess
import sys

import numpy as np
import planish_program
import pytest

MODEL = planish_program.ROOT / "demo" / "digits.onnx"
SHAPE = "image:[2,1,32,32]"


def polygraphy(*arguments, code=0, cwd=None):
    """Runs the command with this interpreter first on PATH; returns its log."""
    program = planish_program.find_program()
    if program is None:
        pytest.skip("planish is not built")
    path = os.pathsep.join([str(folder_of_python()), os.environ.get("PATH", "")])
    done = subprocess.run([program, "polygraphy", *map(str, arguments)], capture_output=True, text=True, timeout=900,
                          cwd=cwd, env={**os.environ, "PATH": path})
    assert done.returncode == code, (done.returncode, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout + done.stderr


_FOLDER = []


def folder_of_python():
    """A folder whose python3 is this interpreter, whatever its name."""
    if not _FOLDER:
        import tempfile
        folder = tempfile.mkdtemp(prefix="python3-")
        script = os.path.join(folder, "python3")
        with open(script, "w") as file:
            file.write(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        os.chmod(script, 0o755)
        _FOLDER.append(folder)
    return _FOLDER[0]


def needs_onnxruntime():
    pytest.importorskip("onnxruntime")


def reference(feeds):
    import onnxruntime
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    return session.run(["logits"], feeds)[0]


def test_planish_against_onnxruntime(tmp_path):
    needs_onnxruntime()
    log = polygraphy("run", MODEL, "--trt", "--onnxrt", "--input-shapes", SHAPE, "--iterations", 2, "--atol", 1e-3,
                     "--rtol", 1e-3, "--validate", "--save-accuracy-results", tmp_path / "accuracy.json")
    lines = log.splitlines()
    assert lines[0].startswith("[I] RUNNING | Command: polygraphy run ")
    assert lines[-1].startswith("[I] PASSED | Runtime: ") and "s | Command: polygraphy run " in lines[-1]
    assert "[I]     PASSED | simple | All outputs matched | Outputs: ['logits']" in lines
    assert any("trt-runner-N0-" in line and " vs. onnxrt-runner-N1-" in line and
               line.endswith("| Passed: 2/2 iterations | Pass Rate: 100.00%") for line in lines)
    assert "[I]     PASSED | Output: logits is valid" in lines
    accuracy = json.loads((tmp_path / "accuracy.json").read_text())
    first = accuracy["lst"][0]["lst"][0][1][0]["logits"]
    assert first["passed"] and first["max_absdiff"] < 1e-3 and first["thresholds"]["check_error_stat"] == "elemwise"


def test_every_layer_is_compared():
    needs_onnxruntime()
    log = polygraphy("run", MODEL, "--trt", "--onnxrt", "--trt-outputs", "*", "--onnx-outputs", "mark", "all",
                     "--input-shapes", SHAPE, "--atol", 1e-3, "--rtol", 1e-3)
    assert "'block1/conv1:0'" in log and "'stem/relu:0'" in log
    assert log.count("[I]         PASSED | Output: ") == 38


def test_saved_data_and_two_steps(tmp_path):
    needs_onnxruntime()
    inputs, golden = tmp_path / "inputs.json", tmp_path / "golden.json"
    polygraphy("run", MODEL, "--onnxrt", "--input-shapes", SHAPE, "--save-inputs", inputs, "--save-outputs", golden,
               "--seed", 5, "--val-range", "[-1,1]", "--iterations", 2)
    engine = tmp_path / "digits.engine"
    log = polygraphy("run", MODEL, "--trt", "--load-inputs", inputs, "--load-outputs", golden, "--atol", 1e-3, "--rtol",
                     1e-3, "--save-engine", engine, "--input-shapes", SHAPE)
    assert "Passed: 2/2 iterations" in log and engine.exists()
    log = polygraphy("run", engine, "--trt", "--load-inputs", inputs, "--load-outputs", golden, "--atol", 1e-12, "--rtol",
                     1e-12, "--check-error-stat", "max", "--fail-fast", code=1)
    assert "[E]         FAILED | Output: 'logits' | Difference exceeds tolerance (rel=1e-12, abs=1e-12)" in log
    assert "---- Histogram ----" in log and "Iteration: 1" not in log
    assert log.splitlines()[-1].startswith("[E] FAILED | Runtime: ")


def test_folders_of_iterations(tmp_path):
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    polygraphy("run", MODEL, "--trt", "--iterations", 3, "--save-inputs", inputs, "--save-outputs", outputs,
               "--save-input-blob", tmp_path / "blob")
    assert sorted(p.name for p in inputs.iterdir()) == [f"000000000{i}.json" for i in range(3)]
    raw = np.fromfile(tmp_path / "blob" / "0000000002" / "image.bin", np.float32)
    expected = np.random.RandomState(3).random_sample((1, 1, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(raw, expected.ravel())
    polygraphy("run", MODEL, "--trt", "--load-inputs", inputs, "--load-outputs", outputs)
    text = polygraphy("inspect", "data", outputs)
    assert "==== Run Results (1 runners) ====" in text and "(3 iterations)" in text
    assert "not empty" in polygraphy("run", MODEL, "--trt", "--save-inputs", inputs, code=1)


def test_same_random_inputs_as_numpy(tmp_path):
    polygraphy("run", MODEL, "--trt", "--seed", 42, "--val-range", "image:[-2,3]", "--save-inputs", tmp_path / "i.json")
    polygraphy("data", "merge", tmp_path / "i.json", "-o", tmp_path / "m.json")
    import base64
    import io
    item = json.loads((tmp_path / "m.json").read_text())[0]["image"]
    values = np.load(io.BytesIO(base64.b64decode(item["array"])))
    expected = (np.random.RandomState(42).random_sample((1, 1, 32, 32)) * 5 - 2).astype(np.float32)
    np.testing.assert_array_equal(values, expected)


def test_loader_script(tmp_path):
    script = tmp_path / "loader.py"
    script.write_text("import numpy as np\n\n\ndef load_data():\n    for i in range(3):\n"
                      "        yield {'image': np.full((1, 1, 32, 32), i, np.float32)}\n")
    log = polygraphy("run", MODEL, "--trt", "--data-loader-script", script, "--save-outputs", tmp_path / "o.json")
    assert "Streaming iteration 2" in log
    script.write_text("def load_data():\n    raise ValueError('no pictures in this folder')\n    yield\n")
    log = polygraphy("run", MODEL, "--trt", "--data-loader-script", script, code=1)
    assert "ValueError: no pictures in this folder" in log and "loader.py" in log


def test_sequential_runners_and_top_k():
    needs_onnxruntime()
    log = polygraphy("run", MODEL, "--trt", "--onnxrt", "--sequential-runners", "--warm-up", 2, "--iterations", 2,
                     "--input-shapes", SHAPE, "--postprocess", "top-3", "--compare", "indices")
    assert "| Running 2 warm-up run(s)" in log and "| Completed 2 iteration(s) in " in log
    assert "(dtype=int64, shape=(2, 3))" in log


def test_convert_derives_a_name_and_profiles(tmp_path):
    model = tmp_path / "digits.onnx"
    model.write_bytes(MODEL.read_bytes())
    log = polygraphy("convert", model, "--fp16", "--trt-min-shapes", "image:[1,1,32,32]", "--trt-opt-shapes",
                     "image:[2,1,32,32]", "--trt-max-shapes", "image:[4,1,32,32]")
    assert (tmp_path / "digits.engine").exists() and "Saving engine to" in log
    assert "min=[1, 1, 32, 32], opt=[2, 1, 32, 32], max=[4, 1, 32, 32]" in log
    text = polygraphy("inspect", "model", tmp_path / "digits.engine")
    assert "Shapes: min=(1, 1, 32, 32), opt=(2, 1, 32, 32), max=(4, 1, 32, 32)" in text
    polygraphy("run", tmp_path / "digits.engine", "--trt", "--input-shapes", "image:[3,1,32,32]")
    assert "(1, 1, 32, 32) to (4, 1, 32, 32)" in polygraphy(
        "run", tmp_path / "digits.engine", "--trt", "--input-shapes", "image:[5,1,32,32]", code=1)


@pytest.mark.parametrize("arguments, code, text", [
    (["run", MODEL, "--trt", "--bogus"], 2, "unrecognized arguments: --bogus"),
    (["run", MODEL, "--trt", "--iterations", "abc"], 2, "invalid int value: 'abc' (for example --iterations 1)"),
    (["run", "no_such.onnx", "--trt", "--int8", "--calib-base-cls", "IInt8Calib"], 2, "IInt8EntropyCalibrator2"),
    (["run", "no_such.onnx", "--trt"], 1, "no_such.onnx"),
    (["run", MODEL, "--tf"], 1, "TensorFlow"),
    (["run", MODEL, "--trt", "--trt-outputs", "block1/conv1"], 1, "did you mean 'block1/conv1:0'?"),
    (["run", MODEL, "--trt", "--load-inputs", "no_such.json"], 1, "no_such.json"),
    (["run", MODEL, "--trt", "--warm-up", 3], 1, "--sequential-runners"),
    (["run", MODEL, "--trt", "--trt-opt-shapes", "imag:[1,1,32,32]"], 1, "did you mean 'image'?"),
    (["convert"], 2, "the following arguments are required: model_file"),
    (["convert", MODEL, "-o", "x.bin"], 1, "Could not automatically determine the format"),
    (["inspect", "data", "no_such.json"], 1, "no_such.json"),
    (["data", "merge", "x.json"], 1, "-o/--output"),
    (["debug", "precision", MODEL], 1, "at least one precision besides float32"),
    (["surgeon", "sanitize", MODEL], 1, "the polygraphy Python package"),
    (["debug", "reduce", MODEL], 1, "the polygraphy Python package"),
])
def test_errors(tmp_path, arguments, code, text):
    assert text in polygraphy(*arguments, code=code, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_the_missing_package(tmp_path):
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    python.chmod(0o755)
    program = planish_program.find_program()
    if program is None:
        pytest.skip("planish is not built")
    done = subprocess.run([program, "polygraphy", "run", MODEL, "--onnxrt"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PATH": str(tmp_path) + os.pathsep + os.environ["PATH"]})
    assert done.returncode == 1 and "pip install" in done.stderr


def test_unknown_outputs_and_numbers_of_iterations_are_warned_of(tmp_path):
    golden = tmp_path / "golden.json"
    polygraphy("run", MODEL, "--trt", "--input-shapes", SHAPE, "--save-outputs", golden, "--iterations", 2)
    for iterations, first, ended in [(1, 1, 0), (3, 2, 1)]:
        log = polygraphy("run", MODEL, "--trt", "--input-shapes", SHAPE, "--load-outputs", golden, "--iterations", iterations,
                         "--atol", "nosuch:1", "1e-3")
        assert "Extra items in the atol dictionary: ['nosuch']" in log
        assert (f"The provided streams have different numbers of iterations. Only the first {first} iteration(s) -- present "
                f"in all 2 streams -- were compared; stream(s) at index [{ended}] ran out first.") in log
    log = polygraphy("run", MODEL, "--trt", "--input-shapes", SHAPE, "--load-outputs", golden, "--iterations", 2, "--atol",
                     "logits:1")
    assert "Extra items" not in log and "different numbers" not in log


def test_capability(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])
    nodes = [helper.make_node("Relu", ["x"], ["a"], name="relu"),
             helper.make_node("Frobnicate", ["a"], ["b"], name="frob", domain="my.domain"),
             helper.make_node("Twist", ["b"], ["y"], name="twist", domain="my.domain")]
    model = helper.make_model(helper.make_graph(nodes, "g", [value], [out]),
                              opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)])
    onnx.save(model, tmp_path / "m.onnx")
    text = polygraphy("inspect", "capability", tmp_path / "m.onnx", cwd=tmp_path)
    assert "Fix: replace these operators" in text
    assert "Frobnicate" in text and "twist" in text and "===== Summary =====" in text
    assert (tmp_path / "polygraphy_capability_dumps" / "results.txt").exists()
    assert "Will not report errors" in polygraphy("inspect", "capability", MODEL, cwd=tmp_path)
    assert "Will not generate subgraphs" in polygraphy("inspect", "capability", MODEL, "--with-partitioning", cwd=tmp_path)


def test_capability_writes_subgraphs(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, parts = onnx.helper, tmp_path / "parts"
    value = helper.make_tensor_value_info
    float32 = onnx.TensorProto.FLOAT
    body = helper.make_graph([helper.make_node("Mul", ["d", "w"], ["m"])], "body", [], [value("m", float32, None)])
    other = helper.make_graph([helper.make_node("Add", ["a", "w"], ["n"])], "other", [], [value("n", float32, None)])
    nodes = [helper.make_node("Relu", ["x"], ["a"], name="relu"),
             helper.make_node("Frobnicate", ["a"], ["b"], name="frob", domain="my.domain"),
             helper.make_node("Twist", ["b"], ["c"], name="twist", domain="my.domain"),
             helper.make_node("Add", ["c", "w"], ["d"], name="add"),
             helper.make_node("If", ["flag"], ["y"], name="if", then_branch=body, else_branch=other)]
    weights = onnx.numpy_helper.from_array(np.ones((1, 4), np.float32), "w")
    graph = helper.make_graph(nodes, "g", [value("x", float32, ["N", 4]), value("flag", onnx.TensorProto.BOOL, [])],
                              [value("y", float32, ["N", 4])], [weights],
                              value_info=[value("a", float32, ["N", 4]), value("c", float32, ["N", 4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)])
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    text = polygraphy("inspect", "capability", tmp_path / "m.onnx", "--with-partitioning", "-o", parts, cwd=tmp_path)
    assert "[[1, 2], [2, 3]]" in text or ("[[1, 2]]" in text and "[[2, 3]]" in text)
    names = ["results.txt", "supported_subgraph-nodes-0-0.onnx", "supported_subgraph-nodes-3-4.onnx",
             "unsupported_subgraph-nodes-1-2.onnx"]
    assert sorted(f.name for f in parts.iterdir()) == names
    for name in names[1:]:
        assert f"Saving ONNX model to: {parts / name}" in text
    first, last, bad = (onnx.load(parts / name) for name in names[1:])
    borders = [([v.name for v in m.graph.input], [v.name for v in m.graph.output]) for m in (first, bad, last)]
    assert borders == [(["x"], ["a"]), (["a"], ["c"]), (["c", "flag", "a"], ["y"])]
    assert not bad.graph.initializer
    assert (onnx.numpy_helper.to_array(last.graph.initializer[0]) == 1).all()
    onnx.checker.check_model(first, full_check=True)
    onnx.checker.check_model(last, full_check=True)
    assert "Will not report errors" in polygraphy("inspect", "capability", parts / names[2], cwd=tmp_path)


def test_debug_precision(tmp_path):
    program = planish_program.find_program()
    # The check accepts an engine whose classifier runs in FP32: found by its layer information.
    check = tmp_path / "check.py"
    check.write_text("import subprocess, sys\n"
                     f"out = subprocess.run([{str(program)!r}, 'inspect', 'polygraphy_debug.engine', '--layers'],"
                     " capture_output=True, text=True).stdout\n"
                     "sys.exit(0 if 'fp32' in out else 3)\n")
    log = polygraphy("debug", "precision", MODEL, "--bf16", "--mode", "bisect", "--builder-optimization-level", 0,
                     "--save-debug-replay", "replay.json", "--check", sys.executable, check, cwd=tmp_path)
    assert "RUNNING | Iteration 1 | Approximately " in log and "Selecting first 38 layer(s)" in log
    assert "Finished " in log and "Pass Rate" in log
    replay = json.loads((tmp_path / "replay.json").read_text())
    assert replay["_N0"]["polygraphy_class"] == "IterationContext" and replay["_N0"]["success"] in (True, False)
    assert not (tmp_path / "polygraphy_debug.engine").exists()


def test_debug_precision_compares_with_fp32(tmp_path):
    log = polygraphy("debug", "precision", MODEL, "--bf16", "--mode", "linear", "--dir", "reverse", "--compare",
                     "cosine_similarity", "--builder-optimization-level", 0, cwd=tmp_path)
    assert "To achieve acceptable accuracy, try running the last 0 layer(s) in higher precision" in log


def test_int8_with_a_loader_script(tmp_path):
    script = tmp_path / "data_loader.py"
    script.write_text("import numpy as np\n\n\ndef load_data():\n    rng = np.random.RandomState(0)\n"
                      "    for _ in range(10):\n"
                      "        yield {'image': rng.uniform(0, 1, (1, 1, 32, 32)).astype(np.float32)}\n")
    model = tmp_path / "digits.onnx"
    model.write_bytes(MODEL.read_bytes())
    log = polygraphy("convert", "digits.onnx", "--int8", "--data-loader-script", "data_loader.py", "--calibration-cache",
                     "digits.cache", "-o", "digits_int8.engine", cwd=tmp_path)
    assert "Saving calibration cache to digits.cache" in log and (tmp_path / "digits_int8.engine").exists()
    cache = (tmp_path / "digits.cache").read_text().splitlines()
    assert cache[0].startswith("TRT-") and any(line.startswith("image: ") for line in cache)
    script.write_text("raise RuntimeError('the cache makes this superfluous')\n")
    log = polygraphy("convert", "digits.onnx", "--int8", "--data-loader-script", "data_loader.py", "--calibration-cache",
                     "digits.cache", cwd=tmp_path)
    assert "Loading calibration cache from digits.cache" in log and (tmp_path / "digits.engine").exists()
    log = polygraphy("run", "digits_int8.engine", "--trt", "--save-outputs", "o.json", cwd=tmp_path)
    log = polygraphy("run", "digits.onnx", "--trt", "--load-outputs", "o.json", "--compare", "cosine_similarity",
                     "--cosine-similarity-threshold", 0.98, cwd=tmp_path)
    assert "Cosine Similarity: " in log


def test_int8_without_data_is_random_and_says_so(tmp_path):
    log = polygraphy("convert", MODEL, "--int8", "-o", tmp_path / "random.engine")
    assert "[W] Int8 Calibration is using randomly generated input data." in log


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18_cifar10", "version-RFB-320"])
def test_shared_models(name):
    needs_onnxruntime()
    model = planish_program.shared("models", f"{name}.onnx")
    polygraphy("run", model, "--trt", "--onnxrt", "--atol", 1e-3, "--rtol", 1e-3, "--builder-optimization-level", 1)


def test_shared_quantised_model():
    needs_onnxruntime()
    model = planish_program.shared("models", "resnet18_cifar10_qat.onnx")
    log = polygraphy("run", model, "--trt", "--onnxrt", "--int8", "--compare", "cosine_similarity")
    assert "has explicit precision" in log
