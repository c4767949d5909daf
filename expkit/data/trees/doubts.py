"""Trees whose folders look like classes and are something else: refused with what was probably meant."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from expkit.data.listing import Found, is_image, list_directory, subfolders
from expkit.data.packed import NUL, shown
from expkit.data.split import Split, compact, is_fold, split_in, split_of
from expkit.data.trees.layout import in_words, root_key
from expkit.data.trees.left_out import Listed
from expkit.errors import DataError

IMAGES = frozenset(("image", "images", "img", "imgs", "jpegimages", "pictures", "photos", "rgb"))
BESIDE = frozenset(
    f"{word}{end}"
    for word in (
        "label",
        "mask",
        "annotation",
        "segmentation",
        "bbox",
        "box",
        "trimap",
        "imageset",
        "groundtruth",
        "gt",
    )
    for end in ("", "s", "es")
) | {"segmentationclass", "segmentationobject"}
"""What lies beside the images where each has boxes or a mask, in names as `compact` gives them."""
FEW = 0.05
"""The share of images beside the folders of a class that count for none."""
DEEP = 4
"""Levels below the root at which another root is looked for."""


@dataclass(frozen=True)
class Top:
    """What a folder that is taken for a class holds."""

    name: bytes
    direct: int
    """Images in the folder itself."""
    inner: Counter[bytes]
    """Images in and below each of its folders."""

    @property
    def nested(self) -> bool:
        """Whether nearly all images lie in folders below."""
        return self.direct <= FEW * (self.direct + self.inner.total())


def top_of(name: bytes, found: Found, base: bytes) -> Top:
    """What a class folder holds, from the listing of `base`, its path below the root."""
    direct, inner = 0, Counter[bytes]()
    for text in found.texts:
        below, _, deeper = text[len(base) : text.index(NUL)].partition(b"/")
        if deeper:
            inner[below] += text.count(NUL)
        else:
            direct += text.count(NUL)
    return Top(name, direct, inner)


def check_classes(root: str, prefix: bytes, listed: Sequence[Listed]) -> tuple[str, ...]:
    """Raise DataError where the folders `listed` in `prefix` are probably no classes. Gives notes for `Data.notes`."""
    where = shown(os.path.join(os.fsencode(root), prefix)).rstrip("/")
    names = [os.path.basename(place[:-1]) for place, _ in listed]
    tops = [top_of(name, found, place) for name, (place, found) in zip(names, listed, strict=True) if found.count]
    check_roles(where, names)
    check_splits(where, names, tops)
    if len(tops) == 1 and tops[0].nested:
        check_single(root, prefix, tops[0])
    if len(tops) > 1 and all(top.nested for top in tops):
        return check_several(root, prefix, tops)
    return note_of_nested(sorted({name for top in tops if top.nested and len(top.inner) > 1 for name in top.inner}))


def check_roles(where: str, names: Sequence[bytes]) -> None:
    """Refuse images beside boxes or masks."""
    roles = {compact(shown(name)) for name in names}
    if roles & IMAGES and roles & BESIDE and roles <= IMAGES | BESIDE:
        lists = os.path.isfile(os.path.join(where, "annotations", "trainval.txt"))
        pets = f"; if it is Oxford-IIIT Pets write data=pets {root_key(where)}" if lists else ""
        raise DataError(
            f"{where} is laid out for detection or segmentation ({in_words(names)}), and expkit classifies whole "
            f"images: make a folder for each class, or a table of files and labels (data=csv){pets}"
        )


def check_splits(where: str, names: Sequence[bytes], tops: Sequence[Top]) -> None:
    """Refuse folds and splits in the place of classes, and splits inside classes."""
    words = [shown(name) for name in names]
    folds = [name for name in names if is_fold(shown(name))]
    if len(folds) > 1 and len(folds) > len(names) / 2:
        raise DataError(
            f"{in_words(folds)} in {where} are folds of a cross-validation, not classes: make train/ and valid/ of "
            "them (links will do), or read all together, with valid cut from them, by data.class_depth=2"
        )
    parts = [name for name, word in zip(names, words, strict=True) if split_in(word) is not None]
    if len({split_in(shown(name)) for name in parts}) > 1 and len(parts) > len(names) / 2:
        raise DataError(
            f"{in_words(parts)} in {where} look like splits, not classes: call them train/, valid/ and test/ (links "
            "will do), each with a folder for each class; data.class_depth=1 takes them for classes"
        )
    holders = [top for top in tops if top.nested and len({split_of(shown(name)) for name in top.inner} - {None}) > 1]
    halves = in_words(sorted(holders[0].inner)) if holders else ""
    if len(holders) == 1:
        name = shown(holders[0].name)
        raise DataError(
            f"{name}/ in {where} is no class, since it holds splits ({halves}): {root_key(f'{where}/{name}')} was "
            "probably meant"
        )
    if len(holders) > 1:
        raise DataError(
            f"the class folders of {where} hold splits ({halves}), which expkit reads the "
            f"other way round, as train/{shown(holders[0].name)}/; turn them (links will do), or read all as one tree, "
            "with valid cut from it, by data.class_depth=1"
        )


def check_single(root: str, prefix: bytes, top: Top) -> None:
    """Refuse a single class whose folders are probably the classes."""
    start = os.path.join(os.fsencode(root), prefix, top.name)
    found = probable_root(start)
    if found is None:
        return
    where = shown(os.path.join(os.fsencode(root), prefix)).rstrip("/")
    if not prefix:
        meant = root_key(shown(found))
    else:
        meant = f"data.class_depth={2 + os.path.relpath(found, start).count(b'/') + (found != start)}"
    raise DataError(
        f"{where} holds a single class folder, {shown(top.name)}/, with folders of its own "
        f"({in_words(sorted(top.inner))}): {meant} was probably meant"
    )


def check_several(root: str, prefix: bytes, tops: Sequence[Top]) -> tuple[str, ...]:
    """Refuse classes that have all their images in folders which may be the classes; a note where that is unlikely."""
    inner = Counter(name for top in tops for name in top.inner)
    shared = sorted(name for name, count in inner.items() if count > 1)
    if len(shared) < 2 and any(len(top.inner) < 2 for top in tops):
        return ()  # a folder or two below some classes
    names = shared if len(shared) > 1 else sorted(inner)
    if any(map(is_numbered, names)):
        return (
            f"images lie in folders below their class ({in_words(names)}); data.class_depth=2 takes those for classes",
        )
    where = shown(os.path.join(os.fsencode(root), prefix)).rstrip("/")
    classes = in_words([top.name for top in tops])
    one = "" if prefix else f", {root_key(os.path.join(root, shown(tops[0].name)))} to read one of them alone"
    raise DataError(
        f"{classes} in {where} hold folders of their own ({in_words(names)}) and no images beside those; say which "
        f"are the classes: data.class_depth=1 for {in_words([tops[0].name])} and so on, data.class_depth=2 for "
        f"{in_words(names[:1])} and so on{one}"
    )


def note_of_nested(inner: Sequence[bytes]) -> tuple[str, ...]:
    """A note on folders below those of the classes, if there are any that could be classes."""
    listed = f"images lie in folders below their class ({in_words(inner)}); data.class_depth=2 takes those for classes"
    return (listed,) if inner else ()


def is_numbered(name: bytes) -> bool:
    """Whether a name has digits: one of a session, a year or a batch rather than of a class."""
    return re.search(rb"\d", name) is not None


def probable_root(path: bytes, depth: int = DEEP) -> bytes | None:
    """The folder at or below `path` that holds splits or classes; None where there is none, or several."""
    if is_root(path):
        return path
    if depth == 0:
        return None
    found = [probable_root(os.path.join(path, name), depth - 1) for name in subfolders(path)[:20]]
    roots = [one for one in found if one is not None]
    return roots[0] if len(roots) == 1 else None


def is_root(path: bytes) -> bool:
    """Whether a folder holds one for training that holds others, or at least two folders of images."""
    names = subfolders(path)
    trains = [name for name in names if split_of(shown(name)) == Split.TRAIN]
    if trains:
        return any(subfolders(os.path.join(path, name)) for name in trains)
    return sum(any(map(is_image, list_directory(os.path.join(path, name)))) for name in names) > 1
