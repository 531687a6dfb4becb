"""Decoding, resizing, preprocessing and array files of planish/data against Pillow and NumPy."""
import base64
import io
import json
from pathlib import Path

import data_tool
import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
PILLOW_MAJOR = int(pytest.importorskip("PIL").__version__.split(".")[0])
SHARED = data_tool.ROOT.parent / "shared" / "data"


def picture(width, height, seed=0, mode="RGB"):
    """Smooth colours with noise, so that chroma upsampling and filters have something to get wrong."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / (5 + c)) * 60 + np.cos(y / (4 + 2 * c)) * 50 + 128 for c in range(4)]
    pixels = np.stack(planes, -1) + rng.normal(0, 12, (height, width, 4))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)[..., :3]).convert(mode)


def decoded(tmp_path, path):
    data_tool.call("decode", path, tmp_path / "out.npy")
    return np.load(tmp_path / "out.npy")


def check_decode(tmp_path, path, tolerance=0):
    want = np.asarray(Image.open(path).convert("RGB"), int)
    got = decoded(tmp_path, path).astype(int)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance


@pytest.mark.parametrize("size", [(64, 48), (37, 51), (1, 1), (17, 2)])
@pytest.mark.parametrize("options", [
    {"quality": 90}, {"quality": 40, "subsampling": 0}, {"quality": 75, "subsampling": 1},
    {"quality": 85, "progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg(tmp_path, mode, options, size):
    picture(*size, mode=mode).save(tmp_path / "a.jpg", **options)
    check_decode(tmp_path, tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png(tmp_path, mode):
    image = picture(33, 21).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray((np.arange(33 * 21) % 256).astype(np.uint8).reshape(21, 33)))
    image.save(tmp_path / "a.png")
    check_decode(tmp_path, tmp_path / "a.png")


@pytest.mark.parametrize("colours", [2, 4, 16])
def test_png_small_palettes(tmp_path, colours):
    picture(33, 21).quantize(colours).save(tmp_path / "a.png", bits={2: 1, 4: 2, 16: 4}[colours])
    check_decode(tmp_path, tmp_path / "a.png")


def test_png_16_bit_grey_keeps_the_upper_byte(tmp_path):
    pixels = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path, tmp_path / "a.png")[..., 1], pixels >> 8)


@pytest.mark.parametrize("name,options", [("a.bmp", {}), ("a.ppm", {}), ("a.webp", {"lossless": True}),
                                          ("a.webp", {"quality": 80})])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_other_formats(tmp_path, name, options, mode):
    picture(45, 31, mode=mode).save(tmp_path / name, **options)
    check_decode(tmp_path, tmp_path / name, tolerance=1 if options.get("quality") else 0)


def test_webp_with_alpha(tmp_path):
    image = picture(20, 20).convert("RGBA")
    image.putalpha(100)
    image.save(tmp_path / "a.webp", lossless=True, exact=True)
    check_decode(tmp_path, tmp_path / "a.webp")


def test_pgm_with_another_maximum(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n# comment\n4 4\n100\n" + bytes(range(0, 96, 6)))
    check_decode(tmp_path, tmp_path / "a.pgm")


@pytest.mark.parametrize("folder", ["imagenet500", "coco128/images"])
def test_shared_photos(tmp_path, folder):
    files = sorted((SHARED / folder).glob("*.[jJ]*"))[::40]
    if not files:
        pytest.skip("no ../shared")
    for file in files:
        check_decode(tmp_path, file)


@pytest.mark.parametrize("target", [(50, 40), (13, 60), (200, 9), (97, 71), (1, 1), (194, 142), (60, 20), (120, 60), (96, 70)])
def test_resize_is_pillows(tmp_path, target):
    image = picture(97, 71, seed=3)
    image.save(tmp_path / "a.png")
    data_tool.call("resize", tmp_path / "a.png", *target, "antialias", tmp_path / "out.npy")
    got, want = np.load(tmp_path / "out.npy"), np.asarray(image.resize(target, Image.BILINEAR))
    if PILLOW_MAJOR >= 13:
        assert np.array_equal(got, want)
    else:  # older versions always filter rows first, which shows in the last bit
        assert got.shape == want.shape and np.abs(got.astype(int) - want).max() <= 1


@pytest.mark.parametrize("target", [(50, 40), (13, 60), (200, 90), (194, 142), (61, 44)])
def test_plain_bilinear_is_opencvs(tmp_path, target):
    cv2 = pytest.importorskip("cv2")
    image = picture(122, 88, seed=4)
    image.save(tmp_path / "a.png")
    data_tool.call("resize", tmp_path / "a.png", *target, "bilinear", tmp_path / "out.npy")
    want = cv2.resize(np.asarray(image), target, interpolation=cv2.INTER_LINEAR)
    assert np.abs(np.load(tmp_path / "out.npy").astype(int) - want).max() <= 1


def run_preprocess(tmp_path, preset, image, channels, height, width):
    image.save(tmp_path / "a.png")
    text = data_tool.call("preprocess", preset, tmp_path / "a.png", channels, height, width, tmp_path / "out.npy")
    return np.load(tmp_path / "out.npy"), json.loads(text)


def test_imagenet_preset(tmp_path):
    image = picture(301, 403, seed=5)
    resized = image.resize((256, int(256 * 403 / 301)), Image.BILINEAR)
    top = int(round((resized.height - 224) / 2.0))
    x = np.asarray(resized.crop((16, top, 240, top + 224)), np.float64) / 255
    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    got, _ = run_preprocess(tmp_path, "imagenet", image, 3, 224, 224)
    np.testing.assert_allclose(got, x.transpose(2, 0, 1), atol=1e-6)


def test_caffe_preset(tmp_path):
    image = picture(256, 341, seed=6)
    left, top = (256 - 227) // 2, (341 - 227) // 2
    x = np.asarray(image.crop((left, top, left + 227, top + 227)), np.float32)[:, :, ::-1] - [104, 117, 123]
    got, _ = run_preprocess(tmp_path, "caffe", image, 3, 227, 227)
    assert np.array_equal(got, x.transpose(2, 0, 1).astype(np.float32))


def test_yolo_preset_letterboxes(tmp_path):
    got, mapping = run_preprocess(tmp_path, "yolo", picture(200, 101, seed=7), 3, 640, 640)
    rows = int(round(101 * 3.2))
    top = (640 - rows) // 2
    assert mapping == {"scale": [3.2, 3.2], "offset": [0, top]}
    grey = np.float32(114 / 255)
    assert (got[:, :top] == grey).all() and (got[:, top + rows:] == grey).all()
    assert not (got[:, top] == grey).all() and not (got[:, top + rows - 1] == grey).all()


def test_one_channel_is_pillows_grey(tmp_path):
    image = picture(30, 30, seed=8)
    got, _ = run_preprocess(tmp_path, "raw", image, 1, 30, 30)
    assert np.array_equal(got[0], np.asarray(image.convert("L"), np.float32))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8", "c16",
                                   ">f4", ">i8", ">c8"])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0, 3)])
def test_npy_round_trip(tmp_path, dtype, shape):
    array = np.asarray(np.random.default_rng(0).normal(0, 50, shape)).astype(dtype)
    for order in ("C", "F"):
        np.save(tmp_path / "a.npy", np.asarray(array, order=order))
        data_tool.call("copy-npy", tmp_path / "a.npy", tmp_path / "b.npy")
        got = np.load(tmp_path / "b.npy")
        assert got.dtype == array.dtype.newbyteorder("<") and np.array_equal(got, array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(tmp_path, version):
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    with open(tmp_path / "a.npy", "wb") as f:
        np.lib.format.write_array(f, array, version=version)
    data_tool.call("copy-npy", tmp_path / "a.npy", tmp_path / "b.npy")
    assert np.array_equal(np.load(tmp_path / "b.npy"), array)


def test_npy_bfloat16(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1.5, -2, 3e8], ml_dtypes.bfloat16)
    np.save(tmp_path / "a.npy", array)
    data_tool.call("copy-npy", tmp_path / "a.npy", tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_npy_refuses_objects(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert "'O'" in data_tool.call("copy-npy", tmp_path / "a.npy", tmp_path / "b.npy", expect_failure=True)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("mode", ["store", "compress"])
def test_npz_round_trip(tmp_path, save, mode):
    arrays = {"x": np.arange(5000, dtype=np.float32).reshape(50, 100), "a/b:0": np.zeros((2, 0)), "s": np.int64(7)}
    save(tmp_path / "a.npz", **arrays)
    data_tool.call("copy-npz", tmp_path / "a.npz", tmp_path / "b.npz", mode)
    got = np.load(tmp_path / "b.npz")
    assert list(got) == list(arrays)
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype and np.array_equal(got[name], array)


def ndarray_json(array, old):
    buffer = io.BytesIO()
    np.save(buffer, array)
    if old == "latin1":
        return {"array": buffer.getvalue().decode("latin-1"),
                "__polygraphy_encoded_ndarray": "polygraphy_serialized_json_type"}
    if old == "npz":
        buffer = io.BytesIO()
        np.savez(buffer, array)
        return {"array": base64.b64encode(buffer.getvalue()).decode(),
                "__polygraphy_encoded_ndarray": "polygraphy_serialized_json_type"}
    return {"array": base64.b64encode(buffer.getvalue()).decode(), "polygraphy_class": "ndarray"}


@pytest.mark.parametrize("old", ["", "latin1", "npz"])
@pytest.mark.parametrize("single", [False, True])
def test_polygraphy_inputs(tmp_path, old, single):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7
    feed = {"data": ndarray_json(array, old), "n": ndarray_json(np.array([3]), old)}
    (tmp_path / "a.json").write_text(json.dumps(feed if single else [feed, feed]))
    data_tool.call("copy-inputs", tmp_path / "a.json", tmp_path / "b.json")
    written = json.loads((tmp_path / "b.json").read_text())
    assert len(written) == (1 if single else 2) and list(written[0]) == ["data", "n"]
    assert written[-1]["data"]["polygraphy_class"] == "ndarray"
    assert np.array_equal(np.load(io.BytesIO(base64.b64decode(written[-1]["data"]["array"]))), array)


def reference_nms(output, confidence=0.001, limit=0.7):
    """Class-wise greedy suppression, written as plainly as possible."""
    cx, cy, w, h = output[:4]
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)
    kinds, anchors = np.nonzero(output[4:] > confidence)
    scores = output[4:][kinds, anchors]
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        a = boxes[anchors[i]]
        for k, b, _ in kept:
            if k != kinds[i]:
                continue
            wh = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
            shared = wh.prod()
            if shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared) > limit:
                break
        else:
            kept.append((kinds[i], a, scores[i]))
    return np.array([[*b, s, k] for k, b, s in kept[:300]])


def test_yolo_decode(tmp_path):
    rng = np.random.default_rng(11)
    output = np.concatenate([rng.uniform(50, 550, (2, 400)), rng.uniform(40, 200, (2, 400)),
                             rng.random((5, 400)) ** 8]).astype(np.float32)
    np.save(tmp_path / "o.npy", output[None])
    data_tool.call("yolo", tmp_path / "o.npy", 100000, 100000, tmp_path / "d.npy")
    got, want = np.load(tmp_path / "d.npy"), reference_nms(output)
    assert got.shape == want.shape == (300, 6)
    np.testing.assert_allclose(got, np.clip(want, 0, None), rtol=1e-5, atol=1e-4)
