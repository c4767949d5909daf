"""The images of any data for a model that is trained already: their classes are matched by name, never by number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from expkit.data.items import UNLABELLED, Images
from expkit.errors import DataError, first_ten

Classes = Literal["all", "common"]
"""Whether the data must have all the model's classes and no other, or only images of those in common are taken."""


@dataclass(frozen=True)
class Chosen:
    """Some images of one or more sources, with labels of their own."""

    sources: tuple[Images, ...]
    places: NDArray[np.int64]
    """For each image, which source it is of, and which of its images."""
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """What its source calls the image."""
        source, place = map(int, self.places[index])
        return self.sources[source].name(place)

    def read(self, index: int, size: int | None = None) -> Image.Image:
        """The image, as its source gives it."""
        source, place = map(int, self.places[index])
        return self.sources[source].read(place, size)


def numbers_of(theirs: Sequence[str], ours: Sequence[str], classes: Classes) -> NDArray[np.int64]:
    """The number that the model has for each class of the data, -1 for none.

    Raises DataError, naming them, for classes that only one of the two has, unless those in `common` are asked for; and
    where there is none in common.
    """
    place = {name: number for number, name in enumerate(ours)}
    numbers = np.array([place.get(name, -1) for name in theirs])
    unknown = [name for name in theirs if name not in place]
    lacking = [name for name in ours if name not in set(theirs)]
    both = len(theirs) - len(unknown)
    told = [
        *([f"{len(unknown)} that the model does not know:\n{first_ten(unknown)}"] if unknown else []),
        *([f"{len(lacking)} of the model that the data lacks:\n{first_ten(lacking)}"] if lacking else []),
    ]
    listed = "\nand ".join(told)
    if both == 0:
        raise DataError(
            f"the data and the model have no class in common; name those of the data as the model does "
            f"(data.class_names); there are {listed}"
        )
    if told and classes == "all":
        raise DataError(
            f"the classes of the data are not those of the model; name them alike (data.class_names), or take the "
            f"images of the {both} in common with task.classes=common; there are {listed}"
        )
    return numbers


def chosen(sources: Sequence[Images], numbers: NDArray[np.int64]) -> Images:
    """The labelled images of sources, with the model's number of each class; those that have none are left out.

    A source that is wanted as it is stays the object it was.
    """
    found = []
    for which, images in enumerate(sources):
        labels = np.where(images.labels == UNLABELLED, -1, numbers[images.labels])
        rows = np.flatnonzero(labels >= 0)
        found.append((np.stack([np.full(len(rows), which), rows], axis=1), labels[rows]))
    labels = np.concatenate([labels for _, labels in found])
    if len(sources) == 1 and len(labels) == len(sources[0]) and (labels == sources[0].labels).all():
        return sources[0]
    return Chosen(tuple(sources), np.concatenate([places for places, _ in found]), labels)
