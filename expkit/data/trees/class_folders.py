"""The class folders of each split, and the images in them."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from expkit.data.images.formats import refused_kind
from expkit.data.links import Links, real
from expkit.data.listing import Found, scan, subfolders
from expkit.data.packed import shown
from expkit.data.split import Split
from expkit.data.trees.layout import Layout, in_words
from expkit.data.trees.left_out import Listed, counted
from expkit.errors import DataError, first_ten
from expkit.words import many

log = logging.getLogger("expkit.data")


@dataclass(frozen=True)
class ClassFolders:
    """Where the classes of a split lie; all paths are relative to the root, and end in a slash unless empty."""

    prefix: bytes
    """The folder of the split."""
    between: Sequence[bytes]
    """The folders from there down to those of the classes: images in them are of no class."""
    places: Sequence[bytes]
    """The folders of the classes, sorted."""
    links: Links

    def scan(self, root: bytes) -> tuple[Found, list[Found]]:
        """What lies between, and in each class folder."""
        beside = Found()
        for place in self.between:
            scan(os.path.join(root, place), place, beside, nested=False, links=self.links)
        founds = [Found() for _ in self.places]
        for place, found in zip(self.places, founds, strict=True):
            scan(os.path.join(root, place), place, found, links=self.links)
        return beside, founds


def class_folders(root: str, layout: Layout, depth: int) -> dict[Split, ClassFolders]:
    """The class folders of each split, `depth` levels down. Raises DataError where one is another's by a link."""
    path, links = os.fsencode(root), Links()
    levels: dict[Split, list[list[bytes]]] = {}
    for split, prefix in layout.folders.items():
        levels[split] = [[prefix]]
        for _ in range(depth):
            levels[split].append(
                [deeper for place in levels[split][-1] for deeper in below(path, place, layout, links)]
            )
    places = {split: level[-1] for split, level in levels.items()}
    check_links(path, layout, places)
    links.read += [os.path.join(path, place) for several in places.values() for place in several]
    return {
        split: ClassFolders(
            layout.folders[split], [place for level in levels[split][:-1] for place in level], found, links
        )
        for split, found in places.items()
    }


def below(root: bytes, place: bytes, layout: Layout, links: Links) -> list[bytes]:
    """The folders in one, without links that lead back, and those of splits in the root."""
    here = os.path.join(root, place)
    beside = frozenset() if place else layout.beside
    names = [name for name in subfolders(here) if name not in beside]
    return [place + name + b"/" for name in names if not links.leads_back(os.path.join(here, name))]


def check_links(root: bytes, layout: Layout, places: dict[Split, list[bytes]]) -> None:
    """Refuse a class that is another by a link; warn of splits that share images so."""
    looked_at = [*filter(None, layout.folders.values()), *chain.from_iterable(places.values())]
    if not any(os.path.islink(os.path.join(root, place[:-1])) for place in looked_at):
        return
    first: dict[bytes, tuple[Split, bytes]] = {}
    shared: list[str] = []
    for split, several in places.items():
        for place in several:
            other_split, other = first.setdefault(real(os.path.join(root, place)), (split, place))
            if other == place:
                continue
            if split == other_split and os.path.basename(place[:-1]) != os.path.basename(other[:-1]):
                raise DataError(
                    f"{shown(place)} and {shown(other)} are the same folder by a link, so their images would be of two "
                    "classes; remove the link"
                )
            shared.append(f"{shown(place)} and {shown(other)}")
    if shared:
        log.warning(
            "%d folders are the same by links, so their images count twice:\n%s", len(shared), first_ten(shared)
        )


def without_empty(split: Split, where: str, listed: Sequence[Listed]) -> tuple[list[Listed], tuple[str, ...]]:
    """Leave out the class folders with no image, and say so in a note.

    Raises DataError for training where fewer than two are left, or where one holds images of a kind that is not read.
    """
    kept = [(place, found) for place, found in listed if found.count]
    empty = [(place, found) for place, found in listed if not found.count]
    if not empty or split != Split.TRAIN:  # a class that lacks in valid is told of
        return kept, ()
    unread = {suffix: kind for _, found in empty for suffix in found.others if (kind := refused_kind(shown(suffix)))}
    if unread or len(kept) < 2:
        lines = [
            class_of(place) + (f" ({counted(found.others, unread)})" if found.others else "") for place, found in empty
        ]
        what = "no image that can be read" if unread else "no image"
        raise DataError(
            f"{many(len(empty), f'class folder of {where} holds', f'class folders of {where} hold')} {what}; fill "
            f"or remove:\n{first_ten(lines)}"
        )
    return kept, (f"left out, without images: {in_words([place[:-1] for place, _ in empty])}",)


def class_of(place: bytes) -> str:
    """The class that a folder names."""
    return shown(os.path.basename(place[:-1]))
