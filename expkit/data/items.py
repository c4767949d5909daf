"""What a data source gives: `Data`, made of `Images` that are read one by one."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.data.images.reading import DEFAULT, Reading
from expkit.words import many

UNLABELLED = -1


class Images(Protocol):
    """A list of images that are read on demand, with their labels; cheap to hand to worker processes."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """One class index an image, UNLABELLED where none is known."""
        ...

    def __len__(self) -> int:
        """The number of images."""
        ...

    def name(self, index: int) -> str:
        """What a person calls the image: its path below the root, or its row."""
        ...

    def read(self, index: int, size: int | None = None) -> Image.Image:
        """The image, RGB and upright; it may be decoded smaller, but no side below `size` pixels for that."""
        ...


@dataclass(frozen=True)
class Data:
    """The images of an experiment: what it trains on, is validated on and, where there is a test set, tested on."""

    train: Images
    valid: Images
    test: Images | None
    classes: tuple[str, ...]
    """Class names in the order of the labels."""
    fingerprint: str
    """Sixteen hex digits that change when an image, a label or a split does."""
    notes: tuple[str, ...] = ()
    """How the source was read, a line each: what was assumed and what was left out. Each run begins with them."""
    reading: Reading = DEFAULT
    """How the pixels of a file, or of an array, become RGB: the same wherever the model is served."""
    unfit: str = ""
    """Why nothing can be trained on it and validated, though its images can be scored; empty where both can be."""

    @property
    def counts(self) -> dict[str, int]:
        """How many images each set has."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: len(images) for name, images in parts.items() if images is not None}

    @property
    def summary(self) -> str:
        """What there is, in a line: `400 training and 160 validation images of 5 classes (test: 40)`."""
        test = ""
        if self.test is not None:
            unlabelled = " without labels" if (self.test.labels == UNLABELLED).all() else ""
            test = f" (test: {len(self.test)}{unlabelled})"
        classes = many(len(self.classes), "class", "classes")
        return (
            f"{len(self.train)} training and {many(len(self.valid), 'validation image', 'validation images')} of "
            f"{classes}{test}"
        )
