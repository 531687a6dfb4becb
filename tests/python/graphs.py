"""The exported graphs of ../shared/models/graphs: filled with seeded weights, fed seeded inputs, run by ONNX Runtime."""
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ROOT.parent / "shared" / "models" / "graphs"
VOCABULARY = 30000


def names():
    """Names of all graphs; empty when the folder is absent."""
    return sorted(path.stem for path in GRAPHS.glob("*.onnx"))


def hydrate(name, folder, batch=None):
    """Writes the graph with its weights filled in to `folder` and returns the file; `batch` fixes the dimension N."""
    path = Path(folder) / f"{name}.onnx"
    fixed = ["--batch", str(batch)] if batch else []
    subprocess.run([sys.executable, GRAPHS / "hydrate.py", GRAPHS / f"{name}.onnx", path, *fixed], check=True)
    return path


def input_dims(name):
    """Dimensions of every graph input by name; symbolic ones stay text ("N", "S")."""
    import onnx
    graph = onnx.load(GRAPHS / f"{name}.onnx", load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in graph.input if value.name not in weights}


def dims_at(dims, **sizes):
    """Concrete dimensions: dims_at(["N", 3, 224, 224], N=4) is [4, 3, 224, 224]."""
    return [sizes[d] if isinstance(d, str) else d for d in dims]


def make_inputs(name, seed=0, **sizes):
    """Seeded inputs by name: pictures in [0, 1), token ids, and masks that hide the end of every row but the first."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for key, dims in input_dims(name).items():
        shape = dims_at(dims, **sizes)
        if key == "attention_mask":
            mask = np.ones(shape, np.int64)
            for row in range(1, shape[0]):
                mask[row, max(1, shape[1] - row * shape[1] // (shape[0] + 1)):] = 0
            feeds[key] = mask
        elif key.endswith("ids"):
            feeds[key] = rng.integers(0, VOCABULARY, shape, dtype=np.int64)
        else:
            feeds[key] = rng.random(shape, dtype=np.float32)
    return feeds


def onnxruntime_outputs(path, feeds, session=None):
    """Outputs by name as ONNX Runtime computes them on the CPU."""
    import onnxruntime
    session = session or onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds)))


def shapes_text(feeds_or_dims):
    """An option value such as input_ids:1x128,attention_mask:1x128."""
    return ",".join(f"{name}:{'x'.join(map(str, getattr(value, 'shape', value)))}"
                    for name, value in feeds_or_dims.items())


def relative_l2(actual, expected):
    """|actual - expected| / |expected| over all elements."""
    actual, expected = (np.asarray(a, np.float64).ravel() for a in (actual, expected))
    return float(np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30))


def in_order_of(expected, actual, score_noise=1e-5):
    """`actual` with its detections (boxes, scores, labels of one picture) put in the order of `expected`.

    Scores closer together than rounding come out of a TopK or of non-maximum suppression in either order. Each expected
    detection takes the nearest box that is not taken, has its label, and whose score differs by `score_noise` of its
    own at most; one without such a partner leaves the order as it was. Other outputs stay as they are.
    """
    if not {"boxes", "scores", "labels"} <= set(expected) or any(
            actual[k].shape != expected[k].shape for k in ("boxes", "scores", "labels")):
        return actual
    order, taken = [], np.zeros(len(expected["labels"]), bool)
    for box, score, label in zip(expected["boxes"], expected["scores"], expected["labels"]):
        may = ~taken & (actual["labels"] == label) & (np.abs(actual["scores"] - score) <= score_noise * abs(score))
        if not may.any():
            return actual
        order.append(np.where(may, np.abs(actual["boxes"] - box).max(axis=1), np.inf).argmin())
        taken[order[-1]] = True
    return actual | {k: actual[k][order] for k in ("boxes", "scores", "labels")}
