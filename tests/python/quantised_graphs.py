"""Small graphs of quantised operators: made with seeded values, run by ONNX Runtime and by planish, compared."""
import numpy as np
import planish_program

MICROSOFT = "com.microsoft"


class Maker:
    """A model that grows node by node; several independent cases share one file, and so one run."""

    def __init__(self, seed=0, opset=21):
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes, self.initialisers, self.inputs, self.outputs, self.feeds = [], [], [], [], {}

    def _name(self, stem):
        return f"{stem}_{len(self.nodes)}_{len(self.initialisers)}_{len(self.inputs)}"

    def const(self, values, dtype=None):
        """An initialiser; `dtype` is an ONNX type for what numpy cannot hold."""
        from onnx import helper, numpy_helper
        name = self._name("c")
        values = np.asarray(values)
        tensor = (numpy_helper.from_array(values, name) if dtype is None else
                  helper.make_tensor(name, dtype, values.shape, values.ravel().tolist()))
        self.initialisers.append(tensor)
        return name

    def input(self, values, dims=None):
        """A graph input fed with `values`; `dims` may name dimensions."""
        from onnx import helper
        name = self._name("x")
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims or values.shape))
        self.feeds[name] = values
        return name

    def bytes(self, shape, dtype=np.uint8, low=None, high=None):
        info = np.iinfo(dtype)
        return self.rng.integers(info.min if low is None else low, (info.max if high is None else high) + 1, shape,
                                 dtype=dtype)

    def floats(self, shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def scale(self, size=None, around=0.02):
        return self.const(np.float32(around * self.rng.uniform(0.5, 1.5, size)))

    def zero(self, dtype=np.uint8, size=None):
        low, high = (100, 150) if dtype == np.uint8 else (-20, 20)
        return self.const(np.asarray(self.rng.integers(low, high, size), dtype))

    def node(self, op, inputs, domain=MICROSOFT, outputs=1, **attributes):
        """Name of the node's output, or a list of names when there are several."""
        from onnx import helper
        names = [self._name(f"{op}_{i}") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, name=self._name(op), **attributes))
        return names[0] if outputs == 1 else names

    def output(self, name, dtype):
        """Declares a graph output; dtype is numpy's or an ONNX type."""
        from onnx import helper
        kind = dtype if isinstance(dtype, int) else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def save(self, path):
        import onnx
        from onnx import helper
        graph = helper.make_graph(self.nodes, "quantised", self.inputs, self.outputs, self.initialisers)
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", self.opset),
                                                                       helper.make_opsetid(MICROSOFT, 1)])
        onnx.save(model, str(path))
        return path


def run_onnxruntime(path, feeds, optimised=False):
    """Outputs by name. Without optimisation the nodes run as they are written."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def run_planish(path, feeds, folder, *options):
    """Outputs by name, from an engine built with little timing."""
    np.savez(folder / "inputs.npz", **feeds)
    planish_program.call("run", path, "-i", folder / "inputs.npz", "-o", folder / "outputs.npz",
                         "--builderOptimizationLevel=0", *options)
    with np.load(folder / "outputs.npz") as outputs:
        return {name: outputs[name] for name in outputs.files}


def assert_same(actual, expected, share=0.02, tolerance=1e-5):
    """Integers: no element differs by more than one step, and few do. Floats: relative L2 error."""
    assert set(actual) == set(expected)
    for name, reference in expected.items():
        value = actual[name]
        assert value.shape == reference.shape and value.dtype == reference.dtype, (name, value.shape, reference.shape)
        if np.issubdtype(reference.dtype, np.integer):
            off = np.abs(value.astype(np.int64) - reference.astype(np.int64))
            assert off.max(initial=0) <= 1, f"{name} is off by {off.max()} steps"
            assert off.mean() <= share if off.size > 50 else True, f"{name}: {off.mean():.1%} are off by one step"
        else:
            error = np.linalg.norm(value.astype(np.float64) - reference) / max(np.linalg.norm(reference), 1e-20)
            assert error <= tolerance, f"{name} is off by {error:.3g}"
