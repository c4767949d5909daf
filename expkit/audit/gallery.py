"""All images of a data set in one row, each once: those of train, then of valid, then of test."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.data.files import ImageFiles
from expkit.data.groups import Groups
from expkit.data.items import Data, Images
from expkit.data.split import Split


@dataclass(frozen=True)
class Gallery:
    """The images of several parts, by one number each."""

    parts: dict[Split, Images]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, data: Data) -> "Gallery":
        """The images of a data set; one that trains several times an epoch is here once."""
        parts = {Split.TRAIN: data.train, Split.VALID: data.valid, Split.TEST: data.test}
        return cls({split: once(images) for split, images in parts.items() if images is not None}, data.classes)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """One class index an image, UNLABELLED where none is known."""
        return np.concatenate([images.labels for images in self.parts.values()])

    @cached_property
    def splits(self) -> NDArray[np.int8]:
        """The `Split` of each image."""
        return np.concatenate([np.full(len(images), split, np.int8) for split, images in self.parts.items()])

    @cached_property
    def starts(self) -> dict[Split, int]:
        """Where each part begins."""
        ends = np.cumsum([0, *map(len, self.parts.values())]).tolist()
        return dict(zip(self.parts, ends, strict=False))

    def __len__(self) -> int:
        return len(self.splits)

    def at(self, row: int) -> tuple[Images, int]:
        """The part of an image, and its place in it."""
        split = Split(self.splits[row])
        return self.parts[split], row - self.starts[split]

    def name(self, row: int) -> str:
        """What a person calls the image."""
        images, index = self.at(row)
        return images.name(index)

    def read(self, row: int, size: int | None = None) -> Image.Image:
        """The image, RGB and upright, no side decoded below `size`."""
        images, index = self.at(row)
        return images.read(index, size)

    def path(self, row: int) -> bytes | None:
        """The file of the image, None where it is none."""
        images, index = self.at(row)
        return images.path(index) if isinstance(images, ImageFiles) else None

    def label(self, row: int) -> str:
        """The class of the image in words, empty where none is known."""
        return self.word(int(self.labels[row]))

    def word(self, label: int) -> str:
        """A class in words, empty for none."""
        return self.classes[label] if label >= 0 else ""

    @cached_property
    def groups(self) -> Groups | None:
        """Which images belong together, where the data says so."""
        parts = [part for part in self.parts.values() if isinstance(part, ImageFiles)]
        if not parts or parts[0].groups is None:
            return None
        return parts[0].groups.take(np.concatenate([part.rows for part in parts]))


def once(images: Images) -> Images:
    """The images without repeats, in their order."""
    if not isinstance(images, ImageFiles):
        return images
    first = np.unique(images.rows, return_index=True)[1]
    return images if len(first) == len(images) else images.subset(np.sort(first))
