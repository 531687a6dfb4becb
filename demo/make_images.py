#!/usr/bin/env python3
"""Writes the held-out digits as images/<row>.png (32x32, grey) and labels.csv. Needs numpy, scikit-learn, pillow."""
from pathlib import Path

from PIL import Image

import digits

HERE = Path(__file__).resolve().parent


def main():
    _, _, pictures, labels, rows = digits.load()
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
