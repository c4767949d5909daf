"""A body that computes in microseconds, and photos of 16 pixels for it."""

import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from expkit.data.files import ImageFiles
from expkit.data.packed import Packed
from expkit.features import Frozen
from expkit.model.classifier import Classifier, LayerGroup
from expkit.model.head import Pool

SIZE = 12
WIDTH = 8
HOUR = 3600


def classifier(seed=0):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(3, WIDTH, 3, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU())
    body[1].running_mean.uniform_(-1, 1)
    body[1].running_var.uniform_(0.5, 2)
    groups = [LayerGroup("early", (body[0],)), LayerGroup("late", (body[1],))]
    return Classifier(body, Pool("avg"), nn.Linear(WIDTH, 2), body_groups=groups, mean=[0.5] * 3, std=[0.25] * 3)


class Builds:
    """Builds the tiny model, and counts how often."""

    def __init__(self, seed=0, autocast=None):
        self.seed, self.autocast = seed, autocast
        self.count = 0

    def __call__(self):
        self.count += 1
        return classifier(self.seed), torch.device("cpu"), self.autocast


def frozen_of(builds=None, **identity):
    model = {"_target_": "tests.features.tiny.classifier", "name": "tiny"}
    return Frozen({"model": model, "image_size": SIZE, "seed": 0, **identity}, builds or Builds())


def photos(root, count=20, age=HOUR):
    """Photos in a format where all have one size; `age` is how many seconds ago they seem to be made."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        paint(root / f"{number:03}.bmp", number)
        grow_old(root / f"{number:03}.bmp", age)
    return root


def paint(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def grow_old(path, age=HOUR):
    then = time.time() - age
    os.utime(path, (then, then))


def files_in(root, kind=ImageFiles):
    names = Packed.from_names(path.name.encode() for path in sorted(root.glob("*.bmp")))
    return kind(str(root), names, np.arange(len(names)), np.arange(len(names)) % 2)


class Slow(ImageFiles):
    """Files that take a while to read."""

    def read(self, index, size=None):
        time.sleep(0.002)
        return super().read(index, size)


class Noted(ImageFiles):
    """Files beside which a line tells of each that is read."""

    def read(self, index, size=None):
        with Path(self.root, "reads").open("a") as log:
            log.write(".")
        return super().read(index, size)


def direct(images, show, seed=0):
    """Features of all images by the model as it is: no cache, no folding, one by one."""
    model = classifier(seed).eval()
    with torch.inference_mode():
        shown = [show(images.read(index, SIZE), index) for index in range(len(images))]
        return torch.cat([model.features(pixels.permute(2, 0, 1)[None]) for pixels in shown])


def rows_of(features):
    return features.take(torch.arange(len(features)))


def entries_in(folder):
    """The complete entries of features in a cache."""
    return [path.parent for path in Path(folder).glob("*/rows.bin") if "." not in path.parent.name]
