"""The few layers a small residual network needs, forward and backward, in numpy; and their ONNX nodes.

Tensors are [N,C,H,W] float32. Each layer keeps what its backward needs from the last forward. `onnx(g, x)` appends the
layer to an exporter and returns the name of its output.
"""
import numpy as np


class Param:
    def __init__(self, value, decay):
        self.value, self.decay = value.astype(np.float32), decay
        self.grad, self.momentum = np.zeros_like(self.value), np.zeros_like(self.value)


class Conv:
    """K filters of R x R without bias, padding R // 2."""

    def __init__(self, name, rng, channels, filters, size, stride):
        self.name, self.size, self.stride, self.pad = name, size, stride, size // 2
        spread = np.sqrt(2 / (channels * size * size))  # He et al. 2015
        self.weight = Param(rng.normal(0, spread, (filters, channels, size, size)), decay=True)
        self.params = [self.weight]

    def windows(self, x):
        view = np.lib.stride_tricks.sliding_window_view(x, (self.size, self.size), axis=(2, 3))
        return view[:, :, :: self.stride, :: self.stride]  # [N,C,P,Q,R,S]

    def forward(self, x, training):
        pad = ((0, 0), (0, 0), (self.pad, self.pad), (self.pad, self.pad))
        cols = self.windows(np.pad(x, pad)).transpose(0, 2, 3, 1, 4, 5)
        n, p, q = cols.shape[:3]
        self.cols, self.in_shape = cols.reshape(n * p * q, -1), x.shape
        weight = self.weight.value.reshape(len(self.weight.value), -1)
        return np.ascontiguousarray((self.cols @ weight.T).reshape(n, p, q, -1).transpose(0, 3, 1, 2))

    def backward(self, dy):
        n, k, p, q = dy.shape
        dy = dy.transpose(0, 2, 3, 1).reshape(-1, k)
        self.weight.grad = (dy.T @ self.cols).reshape(self.weight.value.shape)
        _, c, h, w = self.in_shape
        dcols = (dy @ self.weight.value.reshape(k, -1)).reshape(n, p, q, c, self.size, self.size)
        dx = np.zeros((n, c, h + 2 * self.pad, w + 2 * self.pad), np.float32)
        for r in range(self.size):
            for s in range(self.size):
                rows, columns = slice(r, r + p * self.stride, self.stride), slice(s, s + q * self.stride, self.stride)
                dx[:, :, rows, columns] += dcols[..., r, s].transpose(0, 3, 1, 2)
        return dx[:, :, self.pad : self.pad + h, self.pad : self.pad + w]

    def onnx(self, g, x):
        ends = [self.pad] * 4
        weight = g.constant(f"{self.name}.weight", self.weight.value)
        return g.node(
            "Conv", self.name, [x, weight], kernel_shape=[self.size] * 2, strides=[self.stride] * 2, pads=ends)


class BatchNorm:
    EPSILON = 1e-5

    def __init__(self, name, channels):
        self.name = name
        self.gamma, self.beta = Param(np.ones(channels), decay=False), Param(np.zeros(channels), decay=False)
        self.params = [self.gamma, self.beta]
        self.mean, self.var = np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def forward(self, x, training):
        mean, var = self.mean, self.var
        if training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean, self.var = 0.95 * self.mean + 0.05 * mean, 0.95 * self.var + 0.05 * var
        self.scale = 1 / np.sqrt(var + self.EPSILON)
        self.normal = (x - mean[:, None, None]) * self.scale[:, None, None]
        return self.gamma.value[:, None, None] * self.normal + self.beta.value[:, None, None]

    def backward(self, dy):
        count = dy.size / dy.shape[1]
        self.gamma.grad, self.beta.grad = (dy * self.normal).sum((0, 2, 3)), dy.sum((0, 2, 3))
        centred = dy - (self.beta.grad / count)[:, None, None] - self.normal * (self.gamma.grad / count)[:, None, None]
        return centred * (self.gamma.value * self.scale)[:, None, None]

    def onnx(self, g, x):
        parts = {"scale": self.gamma.value, "bias": self.beta.value, "mean": self.mean, "var": self.var}
        names = [g.constant(f"{self.name}.{key}", value) for key, value in parts.items()]
        return g.node("BatchNormalization", self.name, [x, *names], epsilon=self.EPSILON)


class Relu:
    def __init__(self, name):
        self.name, self.params = name, []

    def forward(self, x, training):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive

    def onnx(self, g, x):
        return g.node("Relu", self.name, [x])


class Chain:
    def __init__(self, *layers):
        self.layers = layers
        self.params = [p for layer in layers for p in layer.params]

    def forward(self, x, training):
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def onnx(self, g, x):
        for layer in self.layers:
            x = layer.onnx(g, x)
        return x


class Residual:
    """relu(conv-bn-relu-conv-bn(x) + shortcut(x)), the basic block of He et al. 2016."""

    def __init__(self, name, rng, channels, filters, stride):
        self.name = name
        self.main = Chain(
            Conv(f"{name}/conv1", rng, channels, filters, 3, stride), BatchNorm(f"{name}/bn1", filters),
            Relu(f"{name}/relu1"),
            Conv(f"{name}/conv2", rng, filters, filters, 3, 1), BatchNorm(f"{name}/bn2", filters))
        same = stride == 1 and channels == filters
        self.shortcut = Chain() if same else Chain(
            Conv(f"{name}/shortcut", rng, channels, filters, 1, stride), BatchNorm(f"{name}/shortcut_bn", filters))
        self.relu = Relu(f"{name}/relu2")
        self.params = self.main.params + self.shortcut.params

    def forward(self, x, training):
        return self.relu.forward(self.main.forward(x, training) + self.shortcut.forward(x, training), training)

    def backward(self, dy):
        dy = self.relu.backward(dy)
        return self.main.backward(dy) + self.shortcut.backward(dy)

    def onnx(self, g, x):
        return self.relu.onnx(g, g.node("Add", f"{self.name}/add", [self.main.onnx(g, x), self.shortcut.onnx(g, x)]))


class PoolAndClassify:
    """Mean over each channel, then a fully connected layer: [N,C,H,W] -> [N,classes]."""

    def __init__(self, name, rng, channels, classes):
        self.name = name
        self.weight = Param(rng.normal(0, np.sqrt(1 / channels), (classes, channels)), decay=True)
        self.bias = Param(np.zeros(classes), decay=False)
        self.params = [self.weight, self.bias]

    def forward(self, x, training):
        self.in_shape, self.pooled = x.shape, x.mean((2, 3))
        return self.pooled @ self.weight.value.T + self.bias.value

    def backward(self, dy):
        self.weight.grad, self.bias.grad = dy.T @ self.pooled, dy.sum(0)
        pixels = self.in_shape[2] * self.in_shape[3]
        return np.broadcast_to((dy @ self.weight.value / pixels)[:, :, None, None], self.in_shape)

    def onnx(self, g, x):
        x = g.node("Flatten", f"{self.name}/flatten", [g.node("GlobalAveragePool", f"{self.name}/pool", [x])])
        weight = g.constant(f"{self.name}.weight", self.weight.value)
        return g.node("Gemm", self.name, [x, weight, g.constant(f"{self.name}.bias", self.bias.value)], transB=1)
