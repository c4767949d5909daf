"""Small photos on the disk, and loaders of them."""

import numpy as np
import torch

from expkit.augment import side_on
from expkit.data.files import ImageFiles
from expkit.data.packed import Packed
from expkit.feed.loading import ImageLoader

SIZE = 24


def files_in(folder):
    names = Packed.from_names(path.name.encode() for path in sorted(folder.iterdir()))
    return ImageFiles(str(folder), names, np.arange(len(names)), np.arange(len(names)) % 3)


def loader_of(images, transforms=None, *, batch_size=4, train=True, num_workers=0, seed=7):
    transforms = transforms or side_on(SIZE)
    return ImageLoader(images, transforms, batch_size=batch_size, seed=seed, train=train, num_workers=num_workers)


def drawn(batches):
    return [(images.clone(), labels.clone()) for images, labels in batches]


def same(left, right):
    assert len(left) == len(right)
    return all(torch.equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))
