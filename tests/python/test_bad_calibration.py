"""Bad calibration data: each kind ends in one message that names file or tensor, cause and remedy, and leaves no file
behind, or costs a sample, which is counted. All of it through trtexec, polygraphy convert and planish quantize."""
import io
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import planish_program
import pytest

onnx = pytest.importorskip("onnx")
Image = pytest.importorskip("PIL.Image")
T = onnx.TensorProto

TOOLS = {
    "trtexec": ["trtexec", "--onnx={model}", "--int8", "--calib={data}", "--saveEngine=out.engine", "--skipInference",
                "--builderOptimizationLevel=0"],
    "polygraphy": ["polygraphy", "convert", "{model}", "--int8", "--data-loader-script", "{data}",
                   "--calibration-cache", "out.cache", "-o", "out.engine", "--builder-optimization-level", "0"],
    "quantize": ["quantize", "{model}", "--calib={data}", "-o", "out.onnx"],
}
DATA_TOOLS = ["trtexec", "quantize"]  # polygraphy takes scripts only


def environment():
    program = planish_program.find_program()
    path = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path}


def command(tool, data, model="m.onnx"):
    program = planish_program.find_program()
    if program is None:
        pytest.skip("planish is not built")
    return [str(program), *(word.format(model=model, data=data) for word in TOOLS[tool])]


def calibrate(tool, folder, data, *extra, model="m.onnx"):
    """Exit status, output, and the files that appeared in the folder."""
    before = set(folder.iterdir())
    done = subprocess.run([*command(tool, data, model), *extra], cwd=folder, capture_output=True, text=True,
                          env=environment(), timeout=300)
    left = sorted(f.name for f in set(folder.iterdir()) - before if f.name != "__pycache__")
    for name in left:
        (folder / name).unlink()
    return done.returncode, done.stdout + done.stderr, left


def refused(tool, folder, data, *says, extra=(), model="m.onnx"):
    code, text, left = calibrate(tool, folder, data, *extra, model=model)
    assert code == 1, text
    for words in says:
        assert words in text, text
    assert "Fix:" in text
    assert left == []


def accepted(tool, folder, data, *says, extra=(), model="m.onnx"):
    code, text, left = calibrate(tool, folder, data, *extra, model=model)
    assert code == 0, text
    for words in says:
        assert words in text, text
    assert left
    return text


def network(path, seed=0):
    rng = np.random.default_rng(seed)
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = {"w1": rng.normal(0, 0.3, (16, 3, 3, 3)), "w2": rng.normal(0, 0.1, (32, 16, 3, 3))}
    nodes = [helper.make_node("Conv", ["x", "w1"], ["a"], name="conv1", pads=[1] * 4, strides=[2, 2]),
             helper.make_node("Relu", ["a"], ["b"], name="relu1"),
             helper.make_node("Conv", ["b", "w2"], ["c"], name="conv2", pads=[1] * 4),
             helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
             helper.make_node("Flatten", ["d"], ["y"], name="flatten")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", T.FLOAT, ["N", 3, 32, 32])], [value("y", T.FLOAT, ["N", 32])],
                              [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def picture(size=(40, 36)):
    rng = np.random.default_rng(size[0])
    return Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))


def encoded(kind, size=(64, 64)):
    data = io.BytesIO()
    picture(size).save(data, kind)
    return data.getvalue()


def colour_png_16_bit():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    pixels = np.random.default_rng(0).integers(0, 65536, (30, 30, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30, 30, 16, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.fixture
def folder(tmp_path):
    network(tmp_path / "m.onnx")
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        picture((40 + i, 36)).save(tmp_path / "pictures" / f"{i:02}.png")
    return tmp_path


VALUES = np.random.default_rng(1).normal(0, 1, (20, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("tool", DATA_TOOLS)
def test_every_size_and_colour_mode_is_taken(tool, folder):
    pictures = folder / "pictures"
    picture((300, 20)).save(pictures / "size.png")
    for mode, name in [("L", "grey.png"), ("L", "grey.jpg"), ("RGBA", "rgba.png"), ("LA", "la.png"), ("1", "bits.png"),
                       ("P", "palette.png"), ("CMYK", "cmyk.jpg")]:
        picture().convert(mode).save(pictures / name)
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40).save(pictures / "grey16.png")
    (pictures / "rgb16.png").write_bytes(colour_png_16_bit())
    text = accepted(tool, folder, "pictures", "calibrated on 22 samples")
    assert "skipped" not in text


DAMAGED = {
    "corrupt.jpg": lambda: encoded("JPEG")[:200] + bytes(range(256)) * 4,
    "truncated.jpg": lambda: encoded("JPEG")[:700],
    "truncated.png": lambda: encoded("PNG")[:2000],
    "empty.jpg": lambda: b"",
    "text.png": lambda: b"not a picture at all",
}


@pytest.mark.parametrize("tool", DATA_TOOLS)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_picture_costs_itself(tool, name, folder):
    (folder / "pictures" / name).write_bytes(DAMAGED[name]())
    text = accepted(tool, folder, "pictures", name, "Fix:", "calibrated on 12 samples", "1 of 13 samples were skipped")
    assert name != "empty.jpg" or "empty. Fix: replace the file" in text


@pytest.mark.parametrize("tool", DATA_TOOLS)
def test_folders_of_other_things(tool, folder):
    (folder / "empty").mkdir()
    refused(tool, folder, "empty", "'empty': the folder is empty")
    (folder / "texts").mkdir()
    (folder / "texts" / "readme.txt").write_text("x")
    refused(tool, folder, "texts", "none of the 1 files in it is a picture or an array")
    np.save(folder / "pictures" / "a.npy", VALUES[:1])
    (folder / "pictures" / "a.tiff").write_bytes(b"x")
    accepted(tool, folder, "pictures", "12 pictures are used, 1 array files", "1 other files are left out, such as a.tiff",
             "calibrated on 12 samples")
    refused(tool, folder, "nowhere", "'nowhere'")


ARRAYS = {  # what is wrong, the array, what the message says
    "channels last": (VALUES.transpose(0, 2, 3, 1), ["(1, 32, 32, 3)", "tensor 'x'", "transpose"]),
    "another size": (VALUES[:, :, :16, :16], ["(1, 3, 16, 16)", "tensor 'x'"]),
    "a scalar": (np.float32(3), ["float32 ()", "tensor 'x'"]),
    "complex": (VALUES.astype(np.complex64), ["complex64", "tensor 'x'", "save it as float32"]),
    "text": (np.array(["a", "b"]), ["'U1' is not a tensor type"]),
    "objects": (np.array([1, "a", None], dtype=object), ["'O' is not a tensor type"]),
    "nothing": (VALUES[:0], ["yields no sample"]),
    "all NaN": (np.full_like(VALUES, np.nan), ["bad.npy[0]", "tensor 'x'", "NaN or infinity", "allowed 10 %"]),
}


@pytest.mark.parametrize("tool", DATA_TOOLS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_wrong_arrays_are_refused(tool, kind, folder):
    array, says = ARRAYS[kind]
    np.save(folder / "bad.npy", array, allow_pickle=True)
    refused(tool, folder, "bad.npy", "bad.npy", *says)


@pytest.mark.parametrize("tool", DATA_TOOLS)
def test_damaged_array_files_are_refused(tool, folder):
    np.save(folder / "good.npy", VALUES)
    np.savez(folder / "good.npz", x=VALUES)
    for name in ["good.npy", "good.npz"]:
        cut = folder / f"cut{Path(name).suffix}"
        cut.write_bytes((folder / name).read_bytes()[:5000])
        refused(tool, folder, cut.name, cut.name, "save")
    np.savez(folder / "names.npz", image=VALUES, mask=VALUES)
    refused(tool, folder, "names.npz", "none of its members (image, mask)", "(x)")


@pytest.mark.parametrize("tool", DATA_TOOLS)
def test_rows_and_files_that_do_not_fit_cost_themselves(tool, folder):
    values = VALUES.copy()
    values[3, 0, 0, 0], values[5, 1, 2, 3] = np.nan, np.inf
    np.save(folder / "nan.npy", values)
    text = accepted(tool, folder, "nan.npy", "nan.npy[3]", "nan.npy[5]", "calibrated on 18 samples",
                    "2 of 20 samples were skipped")
    assert tool != "trtexec" or "nan.npy (20 samples), 2 samples skipped" in text
    (folder / "arrays").mkdir()
    for i, row in enumerate(VALUES[:15]):
        np.save(folder / "arrays" / f"{i:02}.npy", row)
    np.save(folder / "arrays" / "wrong.npy", VALUES[0, :, :5])
    accepted(tool, folder, "arrays", "arrays/wrong.npy", "(3, 5, 32)", "calibrated on 15 samples", "1 of 16 samples")


@pytest.mark.parametrize("tool", DATA_TOOLS)
def test_data_that_says_nothing_is_named(tool, folder):
    np.save(folder / "zero.npy", np.zeros_like(VALUES))
    accepted(tool, folder, "zero.npy", "Nothing but zeros was seen", "x, b")
    np.save(folder / "same.npy", np.full_like(VALUES, 0.5))
    accepted(tool, folder, "same.npy", "The same value everywhere was seen in 1 tensor(s): x")
    np.save(folder / "bytes.npy", (VALUES * 20 + 128).astype(np.uint8))
    accepted(tool, folder, "bytes.npy", "uint8 values are taken as they are")


ROW = "np.random.rand(1, 3, 32, 32).astype(np.float32)"
GOOD = f"    for i in range(12):\n        yield {{'x': {ROW}}}\n"
SCRIPTS = {
    "yields nothing": ("    return\n    yield\n", ["yields no sample"]),
    "returns nothing": ("    pass\n", ["load_data() returned NoneType"]),
    "raises": (GOOD + "    raise KeyError('no such picture')\n",
               ["load_data() raised after 12 batches", "Traceback", "KeyError: 'no such picture'"]),
    "another name": (GOOD.replace("'x'", "'image'"), ["tensor 'image'", "no input of that name; it has x"]),
    "another shape": (GOOD.replace("1, 3, 32, 32", "1, 32, 32, 3"), ["tensor 'x'", "(1, 32, 32, 3)", "transpose"]),
    "another type": (GOOD.replace(ROW, "'picture.jpg'"), ["'x': the value is a str"]),
    "no dictionary": (f"    yield {ROW}\n", ["batch 1 is a ndarray, not a dictionary"]),
    "reads what nobody types": ("    for i in range(int(input())):\n        yield {'x': %s}\n" % ROW,
                                ["raised after 0 batches", "EOFError"]),
    "killed": (GOOD + "    import os\n    os.kill(os.getpid(), 9)\n", ["signal 9", "after 12 batches"]),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kind", SCRIPTS)
def test_scripts_that_fail_are_named(tool, kind, folder):
    body, says = SCRIPTS[kind]
    (folder / "loader.py").write_text("import numpy as np\ndef load_data():\n" + body)
    refused(tool, folder, "loader.py", "loader.py", *says)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_bad_batch_of_a_script_costs_itself(tool, folder):
    (folder / "loader.py").write_text("import numpy as np\ndef load_data():\n" + GOOD.replace(
        "yield {'x':", "yield {'x': np.nan * np.zeros((1, 3, 32, 32), np.float32) if i == 4 else"))
    accepted(tool, folder, "loader.py", "batch 5", "NaN or infinity", "skipped")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_first_batch_that_does_not_fit_costs_itself(tool, folder):
    (folder / "loader.py").write_text("import numpy as np\ndef load_data():\n" + GOOD.replace(
        "yield {'x':", "yield {'x': np.zeros((1, 3, 9, 32), np.float32) if i == 0 else"))
    accepted(tool, folder, "loader.py", "batch 1", "(1, 3, 9, 32)", "skipped")


@pytest.mark.parametrize("tool", DATA_TOOLS)
def test_a_script_that_hangs_is_given_up(tool, folder):
    (folder / "loader.py").write_text(f"import numpy as np\nimport time\ndef load_data():\n    yield {{'x': {ROW}}}\n"
                                      "    time.sleep(600)\n")
    limit = "--calibScriptTimeout=2" if tool == "trtexec" else "--script-timeout=2"
    refused(tool, folder, "loader.py", "gave nothing for 2 seconds", limit.split("=")[0], extra=[limit])


CACHES = {
    "another model": ("TRT-8601-EntropyCalibration2\nfoo: 3c010a14\nbar: 3c010a14\n",
                      ["knows none of the 2 tensors", "(bar, foo)", "another model"]),
    "no ranges": ("TRT-8601-EntropyCalibration2\n", ["no ranges at all"]),
    "not a number": ("TRT-8601-EntropyCalibration2\nx: 3c010a14\nb: 7fc00000\n", ["line 3", "'b'"]),
    "no digits": ("TRT-8601-EntropyCalibration2\nx: 3c010a14\nb: hello\n", ["line 3", "b: hello"]),
    "no header": ("x: 3c010a14\n", ["first line"]),
}


@pytest.mark.parametrize("tool", DATA_TOOLS)
@pytest.mark.parametrize("kind", CACHES)
def test_bad_caches_are_refused(tool, kind, folder):
    text, says = CACHES[kind]
    (folder / "bad.cache").write_text(text)
    refused(tool, folder, "bad.cache", "bad.cache", *says)


def test_a_cache_for_other_weights_is_named(folder):
    code, text, _ = calibrate("polygraphy", folder, "pictures")
    assert code == 1 and "pictures" in text
    network(folder / "other.onnx", seed=1)
    subprocess.run([*command("trtexec", "pictures", "other.onnx"), "--calibCache=other.cache"], cwd=folder, check=True,
                   capture_output=True, env=environment(), timeout=300)
    (folder / "out.engine").unlink()
    for tool in DATA_TOOLS:
        accepted(tool, folder, "other.cache", "other weights than 'm.onnx'")


def lookup_network(path, batch):
    """Fails on words that are not in its table."""
    rng = np.random.default_rng(0)
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [helper.make_node("Cast", ["word"], ["index"], to=T.INT64),
             helper.make_node("Gather", ["table", "index"], ["row"], name="lookup"),
             helper.make_node("MatMul", ["row", "w"], ["y"], name="product")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("word", T.FLOAT, [batch, 4])], [value("y", T.FLOAT, [batch, 4, 64])],
        [numpy_helper.from_array(rng.normal(0, 1, (10, 128)).astype(np.float32), "table"),
         numpy_helper.from_array(rng.normal(0, 1, (128, 64)).astype(np.float32), "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("tool", DATA_TOOLS)
@pytest.mark.parametrize("batch", ["N", 3])
def test_a_sample_that_the_network_fails_on_costs_itself(tool, batch, tmp_path):
    lookup_network(tmp_path / "m.onnx", batch)
    words = np.random.default_rng(0).integers(0, 10, (20, 4)).astype(np.float32)
    words[7, 2] = 99
    np.save(tmp_path / "words.npy", words)
    text = accepted(tool, tmp_path, "words.npy", "words.npy[7]: the network fails on it", "node 'lookup'",
                    "calibrated on 19 samples", "1 of 20 samples were skipped")
    assert text.count("the network fails on it") == 1


@pytest.mark.parametrize("batch", ["N", 3])
def test_adaptive_rounding_leaves_out_a_sample_that_the_network_fails_on(batch, tmp_path):
    lookup_network(tmp_path / "m.onnx", batch)
    words = np.random.default_rng(0).integers(0, 10, (20, 4)).astype(np.float32)
    words[2, 2] = 99
    np.save(tmp_path / "words.npy", words)
    done = subprocess.run([planish_program.find_program(), "quantize", "m.onnx", "--calib=words.npy",
                           "--rounding=adaptive", "-o", "q.onnx"], cwd=tmp_path, env=environment(),
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"1 of \d+ samples are left out of rounding.*lookup", done.stderr), done.stderr
    assert "q.onnx: 1 nodes in INT8" in done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_an_interrupted_calibration_leaves_nothing(tool, folder):
    (folder / "loader.py").write_text("import numpy as np\nimport pathlib\nimport time\ndef load_data():\n"
                                      "    while True:\n        pathlib.Path('running').touch()\n"
                                      f"        time.sleep(0.1)\n        yield {{'x': {ROW}}}\n")
    # A shell that runs the tests in the background has them ignore the signal, and they would hand that down.
    child = subprocess.Popen(command(tool, "loader.py"), cwd=folder, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, env=environment(),
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    for _ in range(600):
        if (folder / "running").exists() or child.poll() is not None:
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    assert child.wait(60) != 0
    left = {f.name for f in folder.iterdir()} - {"m.onnx", "pictures", "loader.py", "running", "__pycache__"}
    assert left == set()
