"""planish quantize: the Q/DQ file in ONNX Runtime and OpenVINO against planish itself, and the accuracy of real models."""
import numpy as np
import planish_program
import pytest

MEAN, DEVIATION = np.float32([0.4914, 0.4822, 0.4465]), np.float32([0.247, 0.2435, 0.2616])


def cifar(first, count):
    images = np.load(planish_program.shared("data", "cifar10", "test_2000.npz"))["images"][first::2000 // count][:count]
    return np.ascontiguousarray(((images.astype(np.float32) / 255 - MEAN) / DEVIATION).transpose(0, 3, 1, 2))


def runtime(path, x):
    """ONNX Runtime without fusing: what the Q/DQ nodes say, computed in float."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def vino(path, x):
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    return core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]


def planish(path, x, folder):
    np.save(folder / "x.npy", x)
    planish_program.call("run", path, f"--input={folder / 'x.npy'}", "-o", folder / "y.npz")
    outputs = np.load(folder / "y.npz")
    return outputs[outputs.files[0]]


def distance(a, b):
    return np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b)


@pytest.fixture(scope="module", params=["tensorrt", "onnxruntime", "openvino"])
def quantised(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "calib.npy", cifar(1, 50))
    planish_program.call("quantize", planish_program.shared("models", "resnet18_cifar10.onnx"),
                         f"--calib={folder / 'calib.npy'}", f"--style={request.param}", "-o", folder / "q.onnx")
    return folder / "q.onnx"


@pytest.fixture
def style(quantised):
    return next(s for s in ("tensorrt", "onnxruntime", "openvino") if quantised.parent.name.startswith(s))


def test_the_file_has_the_numbers_of_its_style(quantised, style):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(quantised)
    onnx.checker.check_model(model, full_check=True)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert len(nodes) >= 20 and all(n.domain == "" for n in model.graph.node)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = weights[node.input[2]]
            assert (weights[node.input[1]] > 0).all()
            assert zero.dtype == np.uint8 if zero.dtype != np.int8 else not zero.any()
    activations = {weights[n.input[2]].dtype for n in nodes}
    assert activations == {np.dtype(np.int8)} if style == "tensorrt" else np.dtype(np.uint8) in activations
    assert style != "onnxruntime" or activations == {np.dtype(np.uint8)}
    kernels = [v for k, v in weights.items() if v.dtype == np.int8 and v.ndim == 4]
    # ONNX Runtime without VNNI adds two products in 16 bits: 255 * 64 * 2 is what fits.
    assert len(kernels) == 20 and all(np.abs(v.astype(int)).max() <= 127 for v in kernels)
    if style == "onnxruntime":
        assert sum(np.abs(v.astype(int)).max() <= 64 for v in kernels) >= 19


def test_onnx_runtime_fuses_its_style_into_integer_kernels(quantised, style, tmp_path):
    if style != "onnxruntime":
        pytest.skip("for the style onnxruntime")
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    session = ort.InferenceSession(str(quantised), options, providers=["CPUExecutionProvider"])
    ops = [n.op_type for n in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert ops.count("QLinearConv") >= 19 and ops.count("Conv") <= 1
    assert ops.count("QLinearAdd") == 7, "all sums but the last, whose average feeds a layer that stays in float"
    x = cifar(0, 20)
    fused = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert distance(fused, runtime(quantised, x)) < 0.03, "no sum saturates"


def test_openvino_runs_its_style_in_integers(quantised, style):
    if style != "openvino":
        pytest.skip("for the style openvino")
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    model = core.compile_model(core.read_model(str(quantised)), "CPU").get_runtime_model()
    info = [{k: getattr(v, "value", v) for k, v in op.get_rt_info().items()} for op in model.get_ops()]
    kinds = [i["runtimePrecision"] for i in info if i["layerType"] == "Convolution"]
    assert len(kinds) == 20 and sum(kind in ("i8", "u8") for kind in kinds) >= 19


def test_all_runtimes_agree(quantised, tmp_path):
    x = cifar(0, 20)
    want = runtime(planish_program.shared("models", "resnet18_cifar10.onnx"), x)
    reference = runtime(quantised, x)
    assert distance(reference, want) < 0.05
    assert distance(planish(quantised, x, tmp_path), reference) < 0.02
    assert distance(vino(quantised, x), reference) < 0.05
    assert (reference.argmax(1) == want.argmax(1)).mean() >= 0.95


@pytest.mark.parametrize("style", ["tensorrt", "onnxruntime", "openvino"])
def test_products_of_three_dimensions_run_in_onnx_runtime(style, tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, rng = onnx.helper, np.random.default_rng(0)
    weights = {"w1": (64, 128), "b1": (128,), "w2": (128, 64), "b2": (64,)}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w1"], ["p"]), helper.make_node("Add", ["p", "b1"], ["q"]),
         helper.make_node("Relu", ["q"], ["r"]), helper.make_node("MatMul", ["r", "w2"], ["s"]),
         helper.make_node("Add", ["s", "b2"], ["y"])], "g",
        [helper.make_tensor_value_info("x", 1, [1, 16, 64])], [helper.make_tensor_value_info("y", 1, [1, 16, 64])],
        [onnx.numpy_helper.from_array(rng.normal(0, 0.1, s).astype(np.float32), n) for n, s in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    x = rng.normal(0, 1, (20, 16, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    planish_program.call("quantize", tmp_path / "m.onnx", f"--calib={tmp_path / 'x.npy'}", f"--style={style}", "-o",
                         tmp_path / "q.onnx")
    assert onnx.load(tmp_path / "q.onnx").opset_import[0].version == 20
    session = pytest.importorskip("onnxruntime").InferenceSession(str(tmp_path / "q.onnx"))
    np.save(tmp_path / "one.npy", x[:1])
    planish_program.call("run", tmp_path / "q.onnx", "-i", tmp_path / "one.npy", "-o", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as ours:
        assert distance(session.run(None, {"x": x[:1]})[0], ours["y"]) < 1e-2


def predictions(path):
    import csv
    with open(path) as file:
        return {row["file"]: row["predicted"] for row in csv.DictReader(file)}


def top1(out):
    import re
    return float(re.search(r"Top-1: ([0-9.]+) %", out)[1])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["build", "quantize"])
@pytest.mark.parametrize("name,preset,least,least_same", [("squeezenet1_1", "caffe", 59.2, 0.96),
                                                          ("resnet18_cifar10", "cifar10", 91.2, 0.993)])
def test_int8_keeps_the_accuracy_of_classifiers(name, preset, least, least_same, form, tmp_path):
    """Implicit INT8 and the symmetric Q/DQ file, calibrated as the bars say: every 4th picture of imagenet500, every
    2nd of calib_images."""
    model = planish_program.shared("models", f"{name}.onnx")
    if preset == "caffe":
        data = planish_program.shared("data", "imagenet500")
        pictures = sorted(p for p in data.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))[::4]
    else:
        data = planish_program.shared("data", "cifar10", "test_2000.npz")
        pictures = sorted(planish_program.shared("data", "cifar10", "calib_images").glob("*/*"))[::2]
    calib = tmp_path / "calib"
    calib.mkdir()
    for i, picture in enumerate(pictures):
        (calib / f"{i:04}_{picture.name}").write_bytes(picture.read_bytes())
    engine = tmp_path / ("int8.engine" if form == "build" else "int8.onnx")
    planish_program.call(form, model, *(["--int8"] if form == "build" else []), f"--calib={calib}",
                         f"--preset={preset}", "-o", engine)
    planish_program.call("eval", model, f"--data={data}", f"--preset={preset}",
                         f"--predictions={tmp_path / 'float.csv'}")
    out = planish_program.call("eval", engine, f"--data={data}", f"--preset={preset}",
                               f"--predictions={tmp_path / 'int8.csv'}")
    before, after = predictions(tmp_path / "float.csv"), predictions(tmp_path / "int8.csv")
    same = np.mean([after[k] == v for k, v in before.items()])
    print(f"{name} {form}: top-1 {top1(out)} %, same top-1 as FP32 {same:.1%}")
    assert top1(out) >= least and same >= least_same


@pytest.mark.slow
def test_int8_keeps_the_accuracy_of_a_detector(tmp_path):
    import json
    data = planish_program.shared("data", "coco128")
    planish_program.call("build", planish_program.shared("models", "yolov8n_coco128.onnx"), "--int8",
                         f"--calib={data / 'images'}", "--preset=yolo", "--shapes=images:8x3x640x640",
                         "-o", tmp_path / "int8.engine", timeout=1800)
    planish_program.call("eval", tmp_path / "int8.engine", f"--data={data}", "--preset=yolo",
                         f"--json={tmp_path / 'r.json'}", timeout=1800)
    report = json.loads((tmp_path / "r.json").read_text())
    print(report["map50"], report["map50_95"])
    assert report["map50_95"] >= 0.822
