#!/usr/bin/env python3
"""Trains the demo's network and writes digits.onnx and its measured accuracy. Needs numpy, scikit-learn, onnx.

Batch normalisation stays in the file as nodes of its own, so that the builder has something to fold. The result depends
on the seed and on the order in which numpy's matrix library adds.
"""
import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import digits
from tiny_net import BatchNorm, Chain, Conv, PoolAndClassify, Relu, Residual

HERE = Path(__file__).resolve().parent


def make_net(rng):
    return Chain(
        Conv("stem/conv", rng, 1, 16, 3, 1), BatchNorm("stem/bn", 16), Relu("stem/relu"),
        Residual("block1", rng, 16, 32, 2),
        Residual("block2", rng, 32, 32, 1),
        Residual("block3", rng, 32, 64, 2),
        Residual("block4", rng, 64, 64, 1),
        PoolAndClassify("classifier", rng, 64, 10))


def as_input(pictures):
    """[n,32,32] uint8 -> [n,1,32,32] in 0..1: what preprocess.json says."""
    return pictures[:, None].astype(np.float32) / 255


def shifted(rng, x, most):
    """Each picture moved by up to `most` pixels each way, edges filled with 0."""
    padded = np.pad(x, ((0, 0), (0, 0), (most, most), (most, most)))
    offsets = rng.integers(0, 2 * most + 1, (len(x), 2))
    side = x.shape[-1]
    return np.stack([p[:, a : a + side, b : b + side] for p, (a, b) in zip(padded, offsets)])


def train(net, x, labels, epochs, batch, peak_rate, rng):
    steps = epochs * (len(x) // batch)
    step = 0
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        losses = []
        for start in range(0, len(x) - batch + 1, batch):
            rows = order[start : start + batch]
            logits = net.forward(shifted(rng, x[rows], 3), training=True)
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            losses.append(-np.log(p[np.arange(batch), labels[rows]] + 1e-9).mean())
            p[np.arange(batch), labels[rows]] -= 1
            net.backward(p / batch)
            rate = peak_rate * min(1, 10 * (step + 1) / steps) * 0.5 * (1 + np.cos(np.pi * step / steps))
            for param in net.params:
                grad = param.grad + (5e-4 * param.value if param.decay else 0)
                param.momentum = 0.9 * param.momentum + grad
                param.value = (param.value - rate * param.momentum).astype(np.float32)
            step += 1
        print(f"epoch {epoch + 1:2}/{epochs}  loss {np.mean(losses):.4f}", flush=True)


class Exporter:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, op, name, inputs, **attributes):
        output = f"{name}:0"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output


def export(net, path):
    g = Exporter()
    logits = net.onnx(g, "image")
    g.nodes[-1].output[0] = "logits"
    assert logits.startswith("classifier")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, digits.SIDE, digits.SIDE])
    scores = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(g.nodes, "digits", [image], [scores], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="planish")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    train_x, train_y, test_x, test_y, _ = digits.load()
    net = make_net(rng)
    train(net, as_input(train_x), train_y, args.epochs, batch=32, peak_rate=0.05, rng=rng)
    right = int((net.forward(as_input(test_x), training=False).argmax(1) == test_y).sum())
    export(net, HERE / "digits.onnx")
    line = f"{right} of {len(test_y)} held-out digits right: {100 * right / len(test_y):.2f} % top-1"
    (HERE / "accuracy.txt").write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
