#!/usr/bin/env python3
"""Writes the held-out digits as images/<row>.png (32x32, grey) with labels.csv, and ten training digits of each class as
calibration/<class>_<number>.png. Needs numpy, scikit-learn, pillow."""
from pathlib import Path

import numpy as np
from PIL import Image

import digits

HERE = Path(__file__).resolve().parent


PER_CLASS = 10


def write_calibration(pictures, labels):
    folder = HERE / "calibration"
    folder.mkdir(exist_ok=True)
    for digit in range(10):
        for number, row in enumerate(np.flatnonzero(labels == digit)[:PER_CLASS]):
            Image.fromarray(pictures[row]).save(folder / f"{digit}_{number}.png", optimize=True)
    print(f"{10 * PER_CLASS} pictures in {folder}")


def main():
    training, training_labels, pictures, labels, rows = digits.load()
    write_calibration(training, training_labels)
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    lines = ["file,label"]
    for picture, label, row in zip(pictures, labels, rows):
        Image.fromarray(picture).save(folder / f"{row:04}.png", optimize=True)
        lines.append(f"{row:04}.png,{label}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    print(f"{len(rows)} pictures in {folder}")


if __name__ == "__main__":
    main()
