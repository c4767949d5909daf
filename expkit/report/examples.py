"""The images that say most about a model's mistakes: the largest losses, and the pairs of classes most confused."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.data.items import Images
from expkit.errors import UserError
from expkit.record.predictions import Predictions

SIDE = 224
"""Pixels of the longer side of an example."""
LOSSES = 12
PAIRS, OF_A_PAIR = 6, 4
FEWEST = 3
"""Pairs of classes of which one image alone is confused are told where there would be fewer pairs."""


@dataclass(frozen=True)
class Example:
    """An image with what the model said of it."""

    file: str
    label: str
    prediction: str
    confidence: float
    loss: float
    picture: Image.Image | None
    """None where the image is gone."""


@dataclass(frozen=True)
class Pair:
    """A class that is taken for another."""

    label: str
    prediction: str
    count: int
    """Images of `label` that are taken for `prediction`."""
    images: int
    """All images of `label`."""
    examples: list[Example]
    """Those of the largest losses."""


@dataclass(frozen=True)
class Mistakes:
    """Where a model errs."""

    losses: list[Example]
    """The largest first; an image may be told rightly all the same."""
    pairs: list[Pair]
    """The most confused first."""


class Pictures:
    """Small pictures of some images, each read once."""

    def __init__(self, images: Images | None) -> None:
        """With None, or for an image that cannot be read any more, there is no picture."""
        self.images = images
        self.read: dict[int, Image.Image | None] = {}

    def of(self, index: int) -> Image.Image | None:
        """The picture of an image, no side above SIDE pixels."""
        if index not in self.read:
            self.read[index] = self.small(index) if self.images is not None else None
        return self.read[index]

    def small(self, index: int) -> Image.Image | None:
        """Read one."""
        assert self.images is not None
        try:
            picture = self.images.read(index, SIDE // 2)
        except UserError:
            return None
        picture.thumbnail((SIDE, SIDE))
        return picture


def mistakes_of(found: Predictions, images: Images | None) -> Mistakes:
    """The mistakes among predictions, with pictures of them where the `images` are there, in the same order."""
    pictures = Pictures(images)

    def example(index: int) -> Example:
        return Example(
            found.files[index],
            found.classes[found.labels[index]],
            found.classes[found.guesses[index]],
            float(found.confidences[index]),
            float(found.losses[index]),
            pictures.of(index),
        )

    order = np.argsort(-found.losses, kind="stable")
    return Mistakes([example(index) for index in order[:LOSSES].tolist()], pairs_of(found, order, example))


def pairs_of(found: Predictions, order: NDArray[np.int64], example: Callable[[int], Example]) -> list[Pair]:
    """The pairs of classes that are confused most, with examples in the `order` of all images."""
    wrong = order[~found.right[order]]
    labels, guesses = found.labels[wrong], found.guesses[wrong]
    count = len(found.classes)
    keys, images = np.unique(labels * count + guesses, return_counts=True)
    pairs = []
    told = min(PAIRS, max(FEWEST, int((images > 1).sum())))
    for place in np.argsort(-images, kind="stable")[:told].tolist():
        label, guess = divmod(int(keys[place]), count)
        chosen = wrong[(labels == label) & (guesses == guess)][:OF_A_PAIR]
        pairs.append(
            Pair(
                found.classes[label],
                found.classes[guess],
                int(images[place]),
                int((found.labels == label).sum()),
                [example(index) for index in chosen.tolist()],
            )
        )
    return pairs
