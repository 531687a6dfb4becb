"""The order of detections is not judged where their scores tie; everything else about them is."""
import graphs
import numpy as np
import pytest

EXPECTED = {"boxes": np.float32([[0, 0, 9, 9], [50, 50, 60, 60], [20, 0, 30, 9]]),
            "scores": np.float32([0.9, 0.5000001, 0.5]), "labels": np.int64([1, 2, 2])}


def changed(**changes):
    return {k: np.array(v) for k, v in (EXPECTED | changes).items()}


def test_detections_whose_scores_tie_are_put_in_order():
    swapped = {k: v[[0, 2, 1]] for k, v in EXPECTED.items()}
    swapped["scores"] = EXPECTED["scores"]
    assert np.array_equal(graphs.in_order_of(EXPECTED, swapped)["boxes"], EXPECTED["boxes"])


@pytest.mark.parametrize("actual", [
    changed(boxes=np.float32([[0, 0, 9, 9], [50, 50, 60, 60], [24, 0, 34, 9]])),
    changed(boxes=np.float32([[50, 50, 60, 60], [0, 0, 9, 9], [20, 0, 30, 9]])),
    changed(boxes=EXPECTED["boxes"][[0, 1, 1]]),
], ids=["moved box", "boxes of another label", "one detection twice"])
def test_wrong_boxes_stay_wrong(actual):
    ordered = graphs.in_order_of(EXPECTED, actual)
    assert graphs.relative_l2(ordered["boxes"], EXPECTED["boxes"]) > 1e-2


def test_a_detection_without_a_partner_leaves_the_order():
    actual = changed(scores=np.float32([0.9, 0.7, 0.5]))
    assert graphs.in_order_of(EXPECTED, actual) is actual
