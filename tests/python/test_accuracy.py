"""planish eval on real models and pictures against ONNX Runtime and pycocotools."""
import csv
import json
import re

import data_tool
import numpy as np
import planish_program
import pytest

pytestmark = pytest.mark.slow


def session(path):
    return pytest.importorskip("onnxruntime").InferenceSession(str(path))


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def percentages(text):
    return [float(x) for x in re.findall(r"Top-[15]: ([0-9.]+) %", text)]


def caffe_input(picture):
    """Shorter side 256, centre crop of 227, BGR minus the mean: with Pillow."""
    from PIL import Image
    image = Image.open(picture).convert("RGB")
    scale = 256 / min(image.size)
    if scale != 1:
        image = image.resize([round(s * scale) for s in image.size], Image.BILINEAR)
    left, top = ((s - 227) // 2 for s in image.size)
    pixels = np.asarray(image.crop((left, top, left + 227, top + 227)), np.float32)[..., ::-1]
    return (pixels - np.array([104, 117, 123], np.float32)).transpose(2, 0, 1)[None]


def test_squeezenet_on_imagenet(tmp_path):
    pytest.importorskip("PIL")
    model, data = planish_program.shared("models", "squeezenet1_1.onnx"), planish_program.shared("data", "imagenet500")
    out = planish_program.call("eval", model, f"--data={data}", "--preset=caffe", f"--predictions={tmp_path / 'p.csv'}")
    assert percentages(out) == [59.4, 81.4]
    peer = session(model)
    same = 0
    rows = rows_of(tmp_path / "p.csv")
    for row in rows:
        scores = peer.run(None, {peer.get_inputs()[0].name: caffe_input(row["file"])})[0]
        same += int(row["predicted"]) == int(scores.reshape(-1).argmax())
    print(f"same top-1 as ONNX Runtime: {same} of {len(rows)}")
    assert len(rows) == 500 and same >= 499


def test_resnet18_on_cifar10(tmp_path):
    model = planish_program.shared("models", "resnet18_cifar10.onnx")
    data = planish_program.shared("data", "cifar10", "test_2000.npz")
    out = planish_program.call("eval", model, f"--data={data}", "--preset=cifar10", f"--predictions={tmp_path / 'p.csv'}")
    assert percentages(out)[0] == 91.3
    images = np.load(data)["images"].astype(np.float32) / 255
    images = (images - np.float32([0.4914, 0.4822, 0.4465])) / np.float32([0.247, 0.2435, 0.2616])
    peer = session(model)
    name = peer.get_inputs()[0].name
    want = np.concatenate([peer.run(None, {name: images[i:i + 50].transpose(0, 3, 1, 2).copy()})[0].argmax(1)
                           for i in range(0, len(images), 50)])
    got = np.array([int(row["predicted"]) for row in rows_of(tmp_path / "p.csv")])
    assert (got == want).mean() >= 0.999


def suppressed(boxes, scores, limit=0.7):
    """Greedy suppression of boxes [n, 4] (corners) in the order of their scores; indices of those that stay."""
    order, kept = np.argsort(-scores, kind="stable"), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        corner = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared_area = np.clip(corner[1] - corner[0], 0, None).prod(1)
        order = rest[shared_area / (areas[best] + areas[rest] - shared_area) <= limit]
    return np.array(kept, int)


def yolo_detections(output):
    """[4 + classes, boxes] to rows x0, y0, x1, y1, score, class: the 300 best of all classes."""
    centre, size, scores = output[:2].T, output[2:4].T, output[4:].T
    corners = np.concatenate([centre - size / 2, centre + size / 2], 1)
    found = []
    for c in range(scores.shape[1]):
        chosen = scores[:, c] > 0.001
        boxes, s = corners[chosen], scores[chosen, c]
        for i in suppressed(boxes, s):
            found.append([*boxes[i], s[i], c])
    found.sort(key=lambda row: -row[4])
    return np.array(found[:300]).reshape(-1, 6)


def coco_scores(truths, detections):
    """mAP@0.5 and mAP@0.5:0.95 by pycocotools; both lists hold COCO annotations."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    gt = coco.COCO()
    gt.dataset = {"images": [{"id": i} for i in {t["image_id"] for t in truths} | {d["image_id"] for d in detections}],
                  "categories": [{"id": c} for c in range(80)],
                  "annotations": [dict(t, id=i + 1, iscrowd=0, area=t["bbox"][2] * t["bbox"][3])
                                  for i, t in enumerate(truths)]}
    gt.createIndex()
    run = evaluation.COCOeval(gt, gt.loadRes(detections), "bbox")
    run.evaluate(), run.accumulate(), run.summarize()
    return run.stats[1], run.stats[0]


def test_yolov8_on_coco128(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    model, data = planish_program.shared("models", "yolov8n_coco128.onnx"), planish_program.shared("data", "coco128")
    planish_program.call("eval", model, f"--data={data}", "--preset=yolo", "--shapes=images:8x3x640x640",
                         f"--json={tmp_path / 'r.json'}", f"--predictions={tmp_path / 'p.json'}")
    report = json.loads((tmp_path / "r.json").read_text())
    peer = session(model)
    name = peer.get_inputs()[0].name
    truths, detections = [], []
    pictures = sorted((data / "images").glob("*.jpg"))
    for index, picture in enumerate(pictures):
        mapping = json.loads(data_tool.call("preprocess", "yolo", picture, 3, 640, 640, tmp_path / "x.npy"))
        output = peer.run(None, {name: np.load(tmp_path / "x.npy")[None]})[0][0]
        width, height = Image.open(picture).size
        for x0, y0, x1, y1, score, c in yolo_detections(output):
            xs = np.clip((np.array([x0, x1]) - mapping["offset"][0]) / mapping["scale"][0], 0, width)
            ys = np.clip((np.array([y0, y1]) - mapping["offset"][1]) / mapping["scale"][1], 0, height)
            detections.append({"image_id": index, "category_id": int(c), "score": float(score),
                               "bbox": [xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0]]})
        for line in (data / "labels" / f"{picture.stem}.txt").read_text().splitlines():
            c, cx, cy, w, h = map(float, line.split())
            truths.append({"image_id": index, "category_id": int(c),
                           "bbox": [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]})
    map50, map50_95 = coco_scores(truths, detections)
    print(f"planish {report['map50']:.4f} {report['map50_95']:.4f}, ONNX Runtime {map50:.4f} {map50_95:.4f}")
    assert report["pictures"] == len(pictures)
    assert report["map50"] == pytest.approx(map50, abs=1e-3)
    assert report["map50_95"] == pytest.approx(map50_95, abs=1e-3)
    # The same detections judged by pycocotools, without the engine in between.
    own = json.loads((tmp_path / "p.json").read_text())
    assert coco_scores(truths, own) == pytest.approx((report["map50"], report["map50_95"]), abs=1e-3)
