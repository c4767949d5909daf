"""Images that are numbers already: arrays in memory, `.npy` and `.npz` files, data sets that a function gives."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le, MinLen
from numpy.typing import NDArray
from PIL import Image

from expkit.check import Fraction, NotNegativeInt, Positive, checked
from expkit.data.array_labels import check_labels, class_list, encode
from expkit.data.array_source import IMAGE_NAMES, LABEL_NAMES, load_source, pick
from expkit.data.files import fingerprint, warn_of_lacking
from expkit.data.images.pixels import Layout, blocks, to_uint8
from expkit.data.images.reading import Reading
from expkit.data.items import UNLABELLED, Data
from expkit.data.label_doubts import warn_of_labels
from expkit.data.split import NothingToCut, Split, cut_note, cut_valid


@dataclass(frozen=True)
class ArrayImages:
    """Images in an array (or a memory-mapped file), of which some rows belong here."""

    base: NDArray[np.uint8]
    """N x H x W (grey) or N x H x W x 3."""
    labels: NDArray[np.int64]
    """One class index for each of `rows`."""
    rows: NDArray[np.int64]
    """Which images of `base` these are."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """All images at once, len(self) x H x W or x H x W x 3, in the order of `labels`; gathered at each call."""
        if np.array_equal(self.rows, np.arange(len(self.base))):
            return self.base
        return self.base[self.rows]

    def name(self, index: int) -> str:
        """The row of the array that the image comes from."""
        return f"row {self.rows[index]}"

    def read(self, index: int, size: int | None = None) -> Image.Image:
        """The image in RGB, as large as it is."""
        return Image.fromarray(np.ascontiguousarray(self.base[self.rows[index]])).convert("RGB")

    def subset(self, indices: NDArray[np.int64]) -> "ArrayImages":
        """The images at `indices`, in that order; pixels are shared, not copied."""
        return ArrayImages(self.base, self.labels[indices], self.rows[indices])


@checked
def array(
    *,
    source: Any = None,
    images: Any = None,
    labels: Any = None,
    valid_images: Any = None,
    valid_labels: Any = None,
    test_images: Any = None,
    test_labels: Any = None,
    layout: Layout = "HWC",
    white: Positive = 255.0,
    classes: Sequence[str] | None = None,
    valid_pct: Fraction = 0.2,
    seed: NotNegativeInt = 0,
) -> Data:
    """Take images from arrays: kept as uint8 in memory, or in the memory-mapped file if they are uint8 there.

    Args:
        source: an `.npz` file, or a trusted function (dotted name, or `_target_` with its arguments) that returns
            named arrays, such as `sklearn.datasets.load_digits`; null if the arrays are given one by one.
        images: training images: a name in `source`, an `.npy` file or an array; null takes `images` or `data`.
        labels: their labels, whole numbers or text: likewise; null takes `labels` or `target`.
        valid_images: images to validate on, likewise; null cuts them from the training images.
        valid_labels: their labels.
        test_images: images of the test set; null for none.
        test_labels: their labels; null for none.
        layout: order of the axes after the first: `HW` (grey), `HWC` or `CHW` (1 or 3 channels).
        white: the pixel value of white, such as 255, 1.0 or 16; black is 0.
        classes: class names in the order of the labels 0, 1, ...; null takes `target_names` of `source`, or the labels.
        valid_pct: share of each class cut for valid where there are no `valid_images`.
        seed: seed of that cut; it belongs to the data.

    Raises UserError for arrays of another shape, lengths that differ, values outside 0 to `white`, NaN, and labels
    that are no class.
    """
    arrays = load_source(source)
    given = {
        Split.TRAIN: Given("data.", images, labels),
        Split.VALID: Given("data.valid_", valid_images, valid_labels),
        Split.TEST: Given("data.test_", test_images, test_labels),
    }
    parts = {
        split: load_part(part, arrays, layout, white)
        for split, part in given.items()
        if split == Split.TRAIN or part.images is not None or part.labels is not None
    }
    names, values = class_list(parts[Split.TRAIN].labels, classes, arrays.get("target_names"))
    if classes is None:
        warn_of_labels(names, np.unique(parts[Split.TRAIN].labels, return_counts=True)[1], "data.labels")
    data = array_data({split: part.images(values) for split, part in parts.items()}, names, valid_pct, seed)
    return replace(data, reading=Reading(arrays=white))


@dataclass(frozen=True)
class Given:
    """What the config says about the images and labels of one split, and how its keys start."""

    key: str
    images: Any
    labels: Any


@dataclass(frozen=True)
class Part:
    """Pixels of one split with the labels as they were given."""

    key: str
    pixels: NDArray[np.uint8]
    labels: NDArray[Any]
    """Empty for a test set without labels."""

    def images(self, values: NDArray[Any]) -> ArrayImages:
        """The images, each with the place of its label in `values`."""
        rows = np.arange(len(self.pixels))
        if not len(self.labels):
            return ArrayImages(self.pixels, np.full(len(rows), UNLABELLED), rows)
        return ArrayImages(self.pixels, encode(self.labels, values, f"{self.key}labels"), rows)


def load_part(given: Given, arrays: Mapping[str, Any], layout: Layout, white: float) -> Part:
    """Pixels and labels of one split."""
    key, train = given.key, given.key == "data."
    found = pick(given.images, arrays, IMAGE_NAMES if train else (), f"{key}images")
    pixels = to_uint8(found, layout, white, f"{key}images")
    if given.labels is None and key == "data.test_":
        return Part(key, pixels, np.empty(0))
    labels = pick(given.labels, arrays, LABEL_NAMES if train else (), f"{key}labels")
    return Part(key, pixels, check_labels(labels, len(pixels), f"{key}labels"))


def array_data(found: Mapping[Split, ArrayImages], classes: tuple[str, ...], valid_pct: float, seed: int) -> Data:
    """Cut valid from the training images where it is not given, and take the fingerprint of all pixels."""
    train, valid, test = found[Split.TRAIN], found.get(Split.VALID), found.get(Split.TEST)
    notes, unfit = tuple[str, ...](), ""
    if valid is None:
        splits = np.zeros(len(train), np.int8)
        try:
            splits = cut_valid(splits, train.labels, valid_pct, seed)
            notes = (cut_note(valid_pct, seed),)
        except NothingToCut as error:
            unfit = str(error)
        valid = train.subset(np.flatnonzero(splits == Split.VALID))
        train = train.subset(np.flatnonzero(splits == Split.TRAIN))
    if not unfit:
        warn_of_lacking(classes, valid.labels)
    images = [part for part in (train, valid, test) if part is not None]
    bases = {id(part.base): part.base for part in images}.values()
    mark = fingerprint(classes, fingerprint_blocks(images, bases))
    return Data(train, valid, test, classes, mark, notes, unfit=unfit)


def fingerprint_blocks(
    images: Sequence[ArrayImages], bases: Iterable[NDArray[np.uint8]]
) -> Iterator[NDArray[np.generic]]:
    """Everything that an array data set consists of, in blocks."""
    for part in images:
        yield part.labels
        yield part.rows
    for base in bases:
        yield np.array(base.shape)
        yield from (base[rows] for rows in blocks(base))


Digit = Annotated[int, Ge(0), Le(9)]


@checked
def digits(
    *,
    classes: Annotated[Sequence[Digit], MinLen(1)] | None = None,
    valid_pct: Fraction = 0.2,
    seed: NotNegativeInt = 0,
) -> Data:
    """Take the 1,797 handwritten digits (8 x 8 pixels, ten classes) that scikit-learn ships.

    Args:
        classes: which of the digits 0 to 9 to take, in any order; null takes all.
        valid_pct: share of each class cut for valid.
        seed: seed of that cut; it belongs to the data.
    """
    from sklearn.datasets import load_digits  # takes more than a second

    images, labels = load_digits(return_X_y=True)
    chosen = np.isin(labels, labels if classes is None else classes)
    pixels = images[chosen].reshape(-1, 8, 8).astype(np.uint8)
    return array(source=(pixels, labels[chosen]), layout="HW", white=16.0, valid_pct=valid_pct, seed=seed)
