"""INT8 on the command line: calibration data of every kind, caches, quantize, convert, sensitivity, compare-precisions."""
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import planish_program
import pytest

DEMO = planish_program.ROOT / "demo"
MODEL = DEMO / "digits.onnx"
PRESET = f"--preset={DEMO / 'preprocess.json'}"
CALIB = f"--calib={DEMO / 'calibration'}"
EVAL = f"--eval={DEMO / 'images' / 'labels.csv'}"
QUICK = ["--duration=0", "--iterations=1", "--warmUp=0", "--builderOptimizationLevel=1"]
# What is faster in float depends on the machine and on what else it does.
QUICK_INT8 = [*QUICK, "--noFloatFallback"]


def run(folder, program, *arguments, code=0):
    """One command in a folder, with python3 of these tests first on PATH; returns standard output and error together."""
    planish = planish_program.find_program()
    if planish is None:
        pytest.skip("planish is not built")
    path = os.pathsep.join([str(planish.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run([planish, program, *map(str, arguments)], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PATH": path}, timeout=600)
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    return text


def digits(count=40):
    """Preprocessed held-out digits as the network wants them."""
    from PIL import Image
    files = sorted((DEMO / "images").glob("*.png"))[:count]
    return np.stack([np.asarray(Image.open(f), np.float32)[None] / 255 for f in files])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The cache that a build beside the engine leaves."""
    folder = tmp_path_factory.mktemp("cache")
    out = run(folder, "trtexec", f"--onnx={MODEL}", "--int8", CALIB, f"--calibPreset={DEMO / 'preprocess.json'}",
              "--saveEngine=digits.engine", *QUICK_INT8)
    assert "calibrated on 100 samples" in out
    assert "INT8 summary:" in out and "changing layouts" in out
    assert "calibration cache written to digits.engine.cache" in out
    assert "PASSED" in out
    return folder / "digits.engine.cache"


def read_cache(path):
    header, *lines = path.read_text().splitlines()
    scales = {}
    for line in lines:
        name, value = line.rsplit(": ", 1)
        scales[name] = struct.unpack("!f", struct.pack("!I", int(value, 16)))[0]
    return header, scales


def test_the_cache_is_tensorrts_text(cache):
    header, scales = read_cache(cache)
    assert header.startswith("TRT-") and header.endswith("-EntropyCalibration2")
    assert 0 < scales["image"] <= 1.01 / 127
    assert cache.read_bytes().endswith(b"\n")


def test_a_cache_gives_the_same_engine_state_and_says_so(cache, tmp_path):
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", f"--calib={cache}", "--saveEngine=d.engine", *QUICK_INT8)
    assert "ranges of" in out and "INT8 summary:" in out
    assert not (tmp_path / "d.engine.cache").exists(), "nothing was measured"
    out = run(tmp_path, "trtexec", "--loadEngine=d.engine", *QUICK[:3])
    assert "Calibration of this engine: cache digits.engine.cache from folder" in out


@pytest.mark.parametrize("kind", ["npy", "npz", "json", "folder of npy", "folder of bin", "csv"])
def test_every_kind_of_data(kind, cache, tmp_path):
    values = digits()
    extra = []
    if kind == "npy":
        np.save(tmp_path / "c.npy", values)
        spec = "c.npy"
    elif kind == "npz":
        np.savez(tmp_path / "c.npz", image=values)
        spec = "c.npz"
    elif kind == "json":
        import base64
        import io
        items = []
        for row in values[:5]:
            buffer = io.BytesIO()
            np.save(buffer, row[None])
            array = {"array": base64.b64encode(buffer.getvalue()).decode(), "polygraphy_class": "ndarray"}
            items.append({"image": array})
        (tmp_path / "c.json").write_text(json.dumps(items))
        spec = "c.json"
    elif kind == "csv":
        spec, extra = str(DEMO / "images" / "labels.csv"), ["--calibPreset=" + str(DEMO / "preprocess.json")]
    else:
        (tmp_path / "c").mkdir()
        for i, row in enumerate(values):
            if kind == "folder of npy":
                np.save(tmp_path / "c" / f"{i:03}.npy", row)
            else:
                row.tofile(tmp_path / "c" / f"{i:03}.bin")
        spec = "c/"
    run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", f"--calib={spec}", "--calibCache=out.cache",
        "--skipInference", *QUICK, *extra)
    _, scales = read_cache(tmp_path / "out.cache")
    _, expected = read_cache(cache)
    assert scales.keys() == expected.keys()
    assert scales["image"] == pytest.approx(expected["image"], rel=0.05)


def test_bad_samples_are_skipped_and_counted(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for f in sorted((DEMO / "calibration").glob("*.png"))[:30]:
        (folder / f.name).write_bytes(f.read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    from PIL import Image
    Image.new("RGBA", (50, 20)).save(folder / "other.png")
    preset = f"--calibPreset={DEMO / 'preprocess.json'}"
    common = [f"--onnx={MODEL}", "--int8", "--calib=pictures", preset, "--skipInference", *QUICK_INT8]
    out = run(tmp_path, "trtexec", *common)
    assert "broken.jpg" in out and "1 of 32 samples were skipped" in out
    out = run(tmp_path, "trtexec", *common, "--calibMaxBad=1", code=1)
    assert "broken.jpg" in out and "FAILED" in out


def test_nan_wrong_shapes_and_missing_data_name_the_culprit(tmp_path):
    values = digits(20)
    values[3, 0, 5, 5] = np.nan
    np.save(tmp_path / "nan.npy", values)
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=nan.npy", "--skipInference", *QUICK_INT8)
    assert "nan.npy[3]" in out and "NaN or infinity" in out and "1 of 20 samples were skipped" in out
    np.save(tmp_path / "nan.npy", values[:8])  # one of eight is more than a tenth: known at once, and said of all eight
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=nan.npy", "--skipInference", code=1)
    assert "1 of 8 calibration samples cannot be used, more than the allowed 10 %" in out and "nan.npy[3]" in out
    np.save(tmp_path / "nhwc.npy", np.zeros((4, 32, 32, 1), np.float32))
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=nhwc.npy", code=1)
    assert "nhwc.npy" in out and "'image'" in out and "transpose" in out
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=nowhere", code=1)
    assert "'nowhere' does not exist" in out and "--calib=random" in out
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=", code=1)
    assert "needs a value" in out
    (tmp_path / "empty").mkdir()
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=empty", code=1)
    assert "the folder is empty" in out


def test_invented_and_random_ranges_are_marked(tmp_path):
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--saveEngine=i.engine", *QUICK_INT8)
    assert "INVENTED" in out and "--calib=FOLDER_OF_IMAGES" in out and "PASSED" in out
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=random", "--saveEngine=r.engine", *QUICK_INT8)
    assert "RANDOM values" in out
    out = run(tmp_path, "trtexec", "--loadEngine=r.engine", *QUICK[:3])
    assert "Calibration of this engine: random" in out
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", "--calib=r.engine.cache", "--skipInference", *QUICK_INT8)
    assert "RANDOM data" in out


LOADER = """
import numpy as np
rng = np.random.RandomState(0)
def load_data():
    for i in range({count}):
        yield {{"image": rng.rand(2, 1, 32, 32).astype(np.float32)}}
{tail}
"""


def test_scripts_as_calibration_data(tmp_path):
    script = tmp_path / "loader.py"
    common = [f"--onnx={MODEL}", "--int8", "--skipInference", "--calib=loader.py", *QUICK_INT8]
    script.write_text(LOADER.format(count=5, tail=""))
    assert "calibrated on 10 samples" in run(tmp_path, "trtexec", *common)
    script.write_text(LOADER.format(count=2, tail="    raise KeyError('no such picture')"))
    out = run(tmp_path, "trtexec", *common, code=1)
    assert "Traceback (most recent call last)" in out and "KeyError: 'no such picture'" in out and "Fix:" in out
    script.write_text(LOADER.format(count=0, tail=""))
    assert "yields no sample" in run(tmp_path, "trtexec", *common, code=1)
    script.write_text(LOADER.format(count="10**9", tail=""))
    out = run(tmp_path, "trtexec", *common, "--calibSamples=6")
    assert "calibrated on 6 samples" in out
    script.write_text("import time\n" + LOADER.format(count=1, tail="    time.sleep(600)"))
    out = run(tmp_path, "trtexec", *common, "--calibScriptTimeout=2", code=1)
    assert "nothing for 2 seconds" in out


def test_cache_show_edit_convert(cache, tmp_path):
    out = planish_program.call("cache", "show", cache)
    assert "image" in out and "Samples: 100" in out
    edited, converted, back = tmp_path / "e.cache", tmp_path / "c.json", tmp_path / "b.cache"
    planish_program.call("cache", "edit", cache, "--set=image=2.54", "--remove=logits", "-o", edited)
    _, scales = read_cache(edited)
    assert scales["image"] == pytest.approx(0.02) and "logits" not in scales
    planish_program.call("cache", "convert", cache, converted)
    assert json.loads(converted.read_text())
    planish_program.call("cache", "convert", converted, back)
    assert back.read_bytes() == cache.read_bytes()
    planish_program.call("cache", "convert", converted, back, "--header=TRT-8601-EntropyCalibration2")
    assert back.read_text().startswith("TRT-8601-EntropyCalibration2\n")
    foreign = tmp_path / "ort.json"
    foreign.write_text(json.dumps({"image": {"CLS": "TensorData", "lowest": [-1.0], "highest": [0.5]}}))
    planish_program.call("cache", "convert", foreign, back)
    assert read_cache(back)[1]["image"] == pytest.approx(1 / 127)
    assert "did you mean" in planish_program.call("cache", "edit", cache, "--remove=imag", "-o", edited, code=1)
    assert "nothing that can be done" in planish_program.call("cache", "shwo", cache, code=1)


def top1(session, values):
    return session.run(None, {"image": values})[0].argmax(1)


def test_quantize_writes_a_model_that_onnxruntime_runs(tmp_path):
    ort = pytest.importorskip("onnxruntime")
    out = tmp_path / "digits_qdq.onnx"
    report = tmp_path / "report.json"
    text = planish_program.call("quantize", MODEL, CALIB, PRESET, "-o", out, f"--report={report}")
    assert "nodes in INT8" in text
    assert json.loads(report.read_text())["quantised_nodes"] > 3
    values = digits(200)
    quantised, original = ort.InferenceSession(str(out)), ort.InferenceSession(str(MODEL))
    assert (top1(quantised, values) == top1(original, values)).mean() >= 0.98


def test_quantize_keeps_nodes_in_float_and_searches(tmp_path):
    out = tmp_path / "q.onnx"
    text = planish_program.call("quantize", MODEL, CALIB, PRESET, "-o", out, "--keep-float=*")
    assert "0 nodes in INT8" in text and "kept in float on request" in text
    text = planish_program.call("quantize", MODEL, CALIB, PRESET, EVAL, "--eval-samples=100", "--max-drop=2%", "-o", out,
                                "--builderOptimizationLevel=1", "--time-limit=60")
    assert "top-1: FP32" in text and "mixes were built and judged" in text
    assert "needs labelled data" in planish_program.call("quantize", MODEL, CALIB, "--max-drop=1%", code=1)
    assert "--calib" in planish_program.call("quantize", MODEL, code=1)


def test_what_max_drop_cannot_reach_stays_in_float(tmp_path):
    """Ranges that clip nearly everything: only float keeps the limit, and the report says so."""
    out, report = tmp_path / "q.onnx", tmp_path / "report.json"
    text = run(tmp_path, "quantize", MODEL, CALIB, PRESET, EVAL, "--eval-samples=100", "--max-drop=0%", "-o", out,
               "--method=percentile", "--percentile=50", "--rounding=nearest", "--builderOptimizationLevel=0",
               "--time-limit=1", "--bf16", f"--report={report}")
    values = json.loads(report.read_text())
    search = values["search"]
    assert search["max_drop"] == 0 and search["limit_kept"]
    assert not search["trials"][0]["keeps_limit"] and search["trials"][0]["kept_in_float"] == []
    assert search["trials"][0]["ms"] > 0 and search["fp32_ms"] > 0 and search["pictures"] == 100
    assert search["chosen"]["drop"] <= 0
    kept = search["chosen"]["kept_in_float"]
    assert {n["reason"] for n in values["float_nodes"] if n["node"].split(" + ")[0] in kept} == {
        "kept in float to keep the accuracy"}
    assert "on request" not in text
    if search["all_in_float"]:
        assert values["quantised_nodes"] == 0
        assert "written in float, without any INT8 node" in text
    assert re.search(r"top-1: FP32 \d+\.\d+ %", text)


@pytest.mark.parametrize("arguments, message", [
    (["--max-drop=abc", EVAL], "'abc' is no number of points"),
    (["--max-drop=-5%", EVAL], "'-5%' is no number of points"),
    (["--max-drop=1%", "--eval=nothing_there.csv"], "nothing_there.csv"),
])
def test_bad_max_drop_is_refused_before_calibrating(arguments, message, tmp_path):
    text = run(tmp_path, "quantize", MODEL, CALIB, PRESET, *arguments, "-o", tmp_path / "q.onnx", code=1)
    assert message in text
    assert "alibrat" not in text


def test_names_that_match_no_node_are_warned_of(tmp_path):
    text = run(tmp_path, "quantize", MODEL, CALIB, PRESET, "--calib-samples=8", "--rounding=nearest", "-o", "q.onnx",
               "--keep-float=block1/*,nosuch", "--force-int8=clasifier")
    assert "--keep-float: no node of the model is called 'nosuch'" in text
    assert "--force-int8: no node of the model is called 'clasifier'; did you mean 'classifier'?" in text
    assert "'block1/*'" not in text
    text = run(tmp_path, "convert", MODEL, "--fp16", "--keep-float=block1/conv9", "-o", "half.onnx")
    assert "no node of the model is called 'block1/conv9'; did you mean 'block1/conv1'?" in text
    text = run(tmp_path, "convert", "half.onnx", "--bf16", "-o", "twice.onnx", code=1)
    assert "is FP16 already" in text and "give the FP32 model" in text
    assert not (tmp_path / "twice.onnx").exists()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_convert_to_half(precision, tmp_path):
    onnx = pytest.importorskip("onnx")
    out = tmp_path / "half.onnx"
    text = planish_program.call("convert", MODEL, f"--{precision}", "-o", out)
    assert ("ONNX Runtime has no BF16 kernels" in text) == (precision == "bf16")
    assert f"nodes in {precision.upper()}" in text
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    half = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision]
    assert {t.data_type for t in model.graph.initializer if t.data_type != onnx.TensorProto.INT64} == {half}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert out.stat().st_size < 0.6 * MODEL.stat().st_size
    values = digits(50)
    np.save(tmp_path / "x.npy", values)
    for model_path in [MODEL, out]:
        planish_program.call("run", model_path, "-i", tmp_path / "x.npy", "-o", tmp_path / f"{model_path.stem}.npz",
                             "--shapes=image:50x1x32x32", "--builderOptimizationLevel=0")
    want, got = (np.load(tmp_path / f"{stem}.npz")["logits"] for stem in ["digits", "half"])
    assert np.linalg.norm(got - want) <= 2e-2 * np.linalg.norm(want)
    if precision == "fp16":
        ort = pytest.importorskip("onnxruntime")
        assert (top1(ort.InferenceSession(str(out)), values) == want.argmax(1)).all()
    assert "exclude each other" in planish_program.call("convert", MODEL, "--fp16", "--bf16", code=1)


def test_dynamic_models_become_static(tmp_path):
    pytest.importorskip("onnxruntime")
    quantization = pytest.importorskip("onnxruntime.quantization")
    dynamic, static = tmp_path / "dynamic.onnx", tmp_path / "static.onnx"
    quantization.quantize_dynamic(str(MODEL), str(dynamic), weight_type=quantization.QuantType.QUInt8)
    text = planish_program.call("quantize", dynamic, "--to-static", CALIB, PRESET, "-o", static)
    assert "nodes in INT8" in text
    import onnx
    operators = {node.op_type for node in onnx.load(static).graph.node}
    assert "QuantizeLinear" in operators and "DynamicQuantizeLinear" not in operators
    assert "leave --to-static out" in planish_program.call("quantize", MODEL, "--to-static", CALIB, PRESET, code=1)


def test_sensitivity(tmp_path):
    report = tmp_path / "s.json"
    text = planish_program.call("sensitivity", MODEL, CALIB, PRESET, EVAL, "--eval-samples=50", "--samples=8",
                                f"--json={report}", f"--histograms={tmp_path / 'h'}", "--builderOptimizationLevel=1")
    assert "Output error" in text and "Metric drop" in text and "--layerPrecisions=" in text
    data = json.loads(report.read_text())
    errors = [node["output_error"] for node in data["nodes"]]
    assert errors == sorted(errors, reverse=True) and 0 < errors[0] < 1
    assert any("input_snr_db" in node for node in data["nodes"])
    histograms = json.loads((tmp_path / "h" / "histograms.json").read_text())
    assert sum(histograms[0]["counts"]) > 0 and list((tmp_path / "h").glob("*.svg"))
    precisions = data["layer_precisions"]
    out = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", CALIB, f"--calibPreset={DEMO / 'preprocess.json'}",
              "--precisionConstraints=obey", f"--layerPrecisions={precisions}", "--skipInference", *QUICK_INT8)
    assert "kept in float on request" in out


def test_sensitivity_of_a_model_without_int8_layers(tmp_path):
    """A network too small for INT8: its table would be empty."""
    import onnx
    from onnx import helper, numpy_helper
    weights = numpy_helper.from_array(np.full((64, 10), 0.1, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], name="fc")], "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 10])], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((8, 1, 8, 8), np.float32))
    text = planish_program.call("sensitivity", tmp_path / "m.onnx", f"--calib={tmp_path / 'x.npy'}",
                                "--builderOptimizationLevel=1")
    assert "No node of this model would run in INT8" in text and "In float: fc: it has too little work" in text
    assert "--layerPrecisions" not in text


def test_a_build_says_whether_int8_lost_against_float(cache, tmp_path):
    build = [MODEL, "--int8", f"--calib={cache}", "--builderOptimizationLevel=1", "-o", tmp_path / "e.engine"]
    text = planish_program.call("build", *build)
    assert re.search(r"INT8 lost against float in (no layer|\d+ nodes)|INT8 alone is slower than float in \d+", text)
    assert "slower than float" not in (kept := planish_program.call("build", *build, "--no-float-fallback"))
    assert "lost against float" not in kept and "INT8 summary:" in kept
    text = run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", f"--calib={cache}", "--skipInference", *QUICK)
    assert "against float" in text or "slower than float" in text


def test_compare_precisions(cache, tmp_path):
    common = [MODEL, f"--calib={cache}", PRESET, EVAL, "--duration=0.05", "--builderOptimizationLevel=1",
              "--no-float-fallback"]
    table = tmp_path / "t.json"
    text = planish_program.call("compare-precisions", *common, "-o", table, f"--save={tmp_path}")
    assert text.splitlines()[0].split()[:3] == ["Precision", "Engine", "size"]
    rows = {row["precision"]: row for row in json.loads(table.read_text())["engines"]}
    assert list(rows) == ["fp32", "fp16", "bf16", "int8"]
    assert rows["int8"]["engine_bytes"] < rows["fp32"]["engine_bytes"]
    assert rows["int8"]["int8_layers"] > 3 and abs(rows["int8"]["drop"]) < 0.02
    assert (tmp_path / "digits_int8.engine").exists()
    text = planish_program.call("compare-precisions", *common, "--precisions=fp32,int8", "--format=markdown")
    assert text.startswith("| Precision | Engine size |")
    text = planish_program.call("compare-precisions", *common, "--precisions=fp32,int8", "--format=csv")
    assert len(text.strip().splitlines()) == 3


def test_explicit_models_ignore_the_calibration(cache, tmp_path):
    out = tmp_path / "q.onnx"
    planish_program.call("quantize", MODEL, f"--calib={cache}", "-o", out)
    text = run(tmp_path, "trtexec", f"--onnx={out}", "--int8", f"--calib={cache}", "--skipInference", *QUICK_INT8)
    assert "Calibrator won't be used in explicit quantization mode" in text and "INT8 summary:" in text


@pytest.mark.parametrize("options, said", [(["--calib=random"], "random"), ([], "invented ranges")])
def test_ranges_that_are_not_real_are_named_in_every_run(tmp_path, options, said):
    run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", *options, "--saveEngine=e.engine", *QUICK_INT8)
    for arguments in (["run", "e.engine"], ["bench", "e.engine", "--duration=0", "--iterations=1"],
                      ["trtexec", "--loadEngine=e.engine", *QUICK[:3]],
                      ["eval", "e.engine", f"--data={DEMO / 'images' / 'labels.csv'}", PRESET],
                      ["polygraphy", "run", "e.engine", "--model-type=engine", "--trt"]):
        text = run(tmp_path, *arguments)
        assert re.search(rf"ranges of this engine are no real ones \(calibration: {said}", text), arguments
    run(tmp_path, "trtexec", f"--onnx={MODEL}", "--int8", CALIB, f"--calibPreset={DEMO / 'preprocess.json'}",
        "--saveEngine=real.engine", *QUICK_INT8)
    assert "no real ones" not in run(tmp_path, "run", "real.engine")


def test_sensitivity_says_what_the_time_limit_left_out(tmp_path):
    json_path = tmp_path / "s.json"
    planish_program.call("sensitivity", MODEL, CALIB, PRESET, "--calib-samples=8", "--samples=2", "--no-times",
                         f"--json={json_path}", "--time-limit=60")
    values = json.loads(json_path.read_text())
    assert values["nodes"] and not values["stopped_early"] and values["unmeasured"] == []


def test_csv_tables_hold_numbers_with_units_in_the_heads(tmp_path):
    import csv
    import io
    text = planish_program.call("sensitivity", MODEL, CALIB, PRESET, "--calib-samples=8", "--samples=2", "--no-times",
                                "--format=csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert all(float(row["Input SNR (dB)"]) > 0 for row in rows) and len(rows) > 3
    table = tmp_path / "table.csv"
    planish_program.call("compare-precisions", MODEL, PRESET, EVAL, "--eval-samples=20", "--precisions=fp32,bf16",
                         "--duration=0.05", "--builderOptimizationLevel=0", "-o", table)
    for row in csv.DictReader(table.open()):
        for head in ["Engine size (bytes)", "Latency (ms)", "Throughput (1/s)", "Speed-up", "INT8 layers", "Layers",
                     "top-1 (%)", "Drop (points)", "Same top-1 as fp32 (%)"]:
            float(row[head])


def test_remedies_for_quantised_models_work(tmp_path):
    run(tmp_path, "quantize", MODEL, CALIB, PRESET, "--calib-samples=8", "--rounding=nearest", "-o", "q.onnx")
    for command in ["quantize", "sensitivity"]:
        text = run(tmp_path, command, "q.onnx", code=1)
        assert "quantised already" in text and "--calib" not in text and "--to-static" not in text
    text = run(tmp_path, "compare-precisions", "q.onnx", CALIB, "--precisions=fp32,int8", "--duration=0.02",
               "--builderOptimizationLevel=0")
    assert "fp32 too" in text and "--calib is not used" in text


def test_dynamically_quantised_models_are_sent_to_to_static(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = helper.make_tensor("w", onnx.TensorProto.INT8, [4, 4], list(range(-8, 8)))
    scale = helper.make_tensor("ws", onnx.TensorProto.FLOAT, [], [0.1])
    zero = helper.make_tensor("wz", onnx.TensorProto.INT8, [], [0])
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dq"),
             helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["i"], name="mm"),
             helper.make_node("Cast", ["i"], ["f"], name="cast", to=onnx.TensorProto.FLOAT),
             helper.make_node("Mul", ["s", "ws"], ["ss"], name="scales"),
             helper.make_node("Mul", ["f", "ss"], ["y"], name="scaled")]
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 4])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [value], [out], [weights, scale, zero]),
                                opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "d.onnx")
    for command in ["quantize", "sensitivity"]:
        text = run(tmp_path, command, "d.onnx", "--calib=random", code=1)
        assert "dynamically" in text and "--to-static" in text


def test_no_output_replaces_the_calibration_cache(tmp_path):
    cache = tmp_path / "ranges.cache"
    text = "TRT-101300-EntropyCalibration2\nimage: 3c010a14\n"
    cache.write_text(text)
    for command in (["trtexec", f"--onnx={MODEL}", "--int8", f"--calib={cache}", f"--saveEngine={cache}"],
                    ["quantize", MODEL, f"--calib={cache}", "-o", cache],
                    ["polygraphy", "convert", MODEL, "--int8", "--calibration-cache", cache, "-o", cache]):
        assert "would be written over what is read" in run(tmp_path, *command, code=1)
        assert cache.read_text() == text
