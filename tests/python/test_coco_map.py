"""mAP of planish against pycocotools on the same detections; scores must agree to 0.001, in fact to rounding."""
import contextlib
import io
import json

import data_tool
import numpy as np
import pytest

coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")

TOLERANCE = 1e-9


def reference(detections, truths, pictures, classes):
    """COCOeval's mAP@0.5:0.95 and mAP@0.5."""
    gt = coco.COCO()
    gt.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(pictures)],
        "categories": [{"id": c} for c in range(classes)],
        "annotations": [
            {"id": n + 1, "image_id": int(r[0]), "category_id": int(r[5]), "iscrowd": int(r[6]),
             "bbox": [r[1], r[2], r[3] - r[1], r[4] - r[2]], "area": (r[3] - r[1]) * (r[4] - r[2])}
            for n, r in enumerate(truths.tolist())
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        dt = gt.loadRes([
            {"image_id": int(r[0]), "category_id": int(r[6]), "score": r[5],
             "bbox": [r[1], r[2], r[3] - r[1], r[4] - r[2]]}
            for r in detections.tolist()
        ])
        evaluation = cocoeval.COCOeval(gt, dt, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0], evaluation.stats[1]


def scene(seed, pictures, classes, ties, crowds=False, per_picture=12):
    """True boxes, and detections that are shifted copies of them, doubles and noise."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for picture in range(pictures):
        for _ in range(rng.integers(0, per_picture)):
            x, y, w, h = rng.uniform(0, 400), rng.uniform(0, 400), rng.uniform(5, 200), rng.uniform(5, 200)
            if ties:
                x, y, w, h = (round(v / 20) * 20 + 20 for v in (x, y, w, h))
            kind = rng.integers(classes)
            truths.append([picture, x, y, x + w, y + h, kind, crowds and rng.random() < 0.2])
            for _ in range(rng.integers(0, 4)):
                shift = rng.choice([0, 0, 10, 20], 4) if ties else rng.normal(0, 0.12, 4) * [w, h, w, h]
                score = round(rng.random() * 4) / 4 if ties else rng.random()
                box = np.array([x, y, x + w, y + h]) + shift
                other = kind if rng.random() < 0.9 else rng.integers(classes)
                detections.append([picture, *np.minimum(box, box[[2, 3, 2, 3]]), score, other])
    order = rng.permutation(len(detections))
    return np.array(detections, float)[order], np.array(truths, float).reshape(-1, 7)


def check(tmp_path, detections, truths, pictures, classes):
    np.save(tmp_path / "d.npy", detections)
    np.save(tmp_path / "t.npy", truths)
    got = json.loads(data_tool.call("coco-map", tmp_path / "d.npy", tmp_path / "t.npy", pictures))
    want = reference(detections, truths, pictures, classes)
    assert got["map50_95"] == pytest.approx(want[0], abs=TOLERANCE)
    assert got["map50"] == pytest.approx(want[1], abs=TOLERANCE)
    return want


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_scenes(tmp_path, seed, ties, crowds):
    detections, truths = scene(seed, pictures=15, classes=4, ties=ties, crowds=crowds)
    map50_95, map50 = check(tmp_path, detections, truths, 15, 4)
    assert 0.02 < map50_95 < map50 < 0.98, "the scene must be neither empty nor perfect"


def test_more_than_100_detections_per_picture(tmp_path):
    detections, truths = scene(7, pictures=2, classes=1, ties=False, per_picture=90)
    assert np.bincount(detections[:, 0].astype(int)).max() > 100
    check(tmp_path, detections, truths, 2, 1)


def test_perfect_and_missed(tmp_path):
    truths = np.array([[0, 10, 10, 50, 50, 0, 0], [1, 20, 20, 90, 80, 1, 0]], float)
    detections = np.array([[0, 10, 10, 50, 50, 0.9, 0]])
    assert check(tmp_path, detections, truths, 2, 2) == pytest.approx((0.5, 0.5))
