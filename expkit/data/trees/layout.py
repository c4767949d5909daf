"""Which folders of a tree train, validate and test, told by their names."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from expkit.command import override, quoted
from expkit.data.listing import is_image, list_directory, subfolders
from expkit.data.packed import shown
from expkit.data.split import SECOND, SPLIT_WORDS, Split, split_in, split_of, split_word
from expkit.errors import DataError

log = logging.getLogger("expkit.data")

PLAIN = ("train", "valid", "val", "test")
"""Names that are no assumption."""


@dataclass(frozen=True)
class Layout:
    """Where the images of each split lie, and how that was told."""

    folders: dict[Split, bytes]
    """The folder of each split below the root, ended by a slash; empty where the root itself trains."""
    beside: frozenset[bytes]
    """Folders at the root that are no classes, if the root itself trains."""
    notes: tuple[str, ...]


def find_splits(root: str, classes_are_folders: bool = True, depth: int | None = None) -> Layout:
    """Find the folders of the splits; the root itself trains where there is none for training.

    With `depth` 1, folders of which each holds images itself are classes whatever their names.
    Raises DataError where two could be the same split, and for one to validate on without one that trains.
    """
    path, names = os.fsencode(root), subfolders(os.fsencode(root))
    found = candidates(names)
    notes: list[str] = []
    if classes_are_folders and are_classes(path, names, found, depth == 1):
        taken = [name for several in found.values() for name in several]
        notes += (
            [
                f"{in_words(taken)} {'is taken for a class' if len(taken) == 1 else 'are taken for classes'}, as are "
                "the folders beside it"
            ]
            if taken
            else []
        )
        found = {}
    chosen = {split: the_one(root, split, found[split]) for split in Split if split in found}
    if Split.VALID in chosen and Split.TRAIN not in chosen:
        name = shown(chosen[Split.VALID])
        raise DataError(
            f"{root} has {name}/ but no train/; call the folder that trains so{hint_of_classes(root, name)}, or to "
            f"score its images alone  {quoted(override('data.root', os.path.join(root, name)))}"
        )
    notes += [
        f"{shown(name)}/ is read as {split.name.lower()}" for split, name in chosen.items() if shown(name) not in PLAIN
    ]
    passed = {name: split for split, several in found.items() for name in several if name != chosen[split]}
    notes += [f"left out: {shown(name)}/, since {shown(chosen[split])}/ is there" for name, split in passed.items()]
    others = [name for name in names if split_of(shown(name)) is None]
    if Split.TRAIN not in chosen:
        notes += note_of_low_root(root)
    elif others:
        warn_of_others(path, chosen[Split.TRAIN], others)
        notes.append(f"left out: {in_words(others)}, beside {shown(chosen[Split.TRAIN])}/")
    folders = {split: name + b"/" for split, name in chosen.items()}
    return Layout({Split.TRAIN: b"", **folders}, frozenset([*passed, *chosen.values()]), tuple(notes))


def candidates(names: Sequence[bytes]) -> dict[Split, list[bytes]]:
    """The folders that each split could be, the plainest name first."""
    words = list(SPLIT_WORDS)
    named = [(words.index(word), name) for name in names if (word := split_word(shown(name)))]
    found: dict[Split, list[bytes]] = {}
    for place, name in sorted(named):
        found.setdefault(SPLIT_WORDS[words[place]], []).append(name)
    return found


def the_one(root: str, split: Split, names: list[bytes]) -> bytes:
    """The folder of a split; `dev` and the like give way to a plainer name. Raises DataError where two are left."""
    plain = [name for name in names if split_word(shown(name)) not in SECOND] or names
    if len(plain) > 1:
        both = " and ".join(f"{shown(name)}/" for name in plain)
        raise DataError(f"{root} has both {both}, which could each be {split.name.lower()}; keep one of them")
    return plain[0]


def are_classes(path: bytes, names: Sequence[bytes], found: dict[Split, list[bytes]], told: bool) -> bool:
    """Whether folders named as splits are classes: each folder holds images itself, and some have other names.

    Where nobody has `told` so, `train` alone is one: a vehicle, beside two more.
    """
    if not told and (list(found) != [Split.TRAIN] or len(names) < 3):
        return False
    others = any(split_in(shown(name)) is None for name in names)
    return others and all(has_images(os.path.join(path, name)) for name in names)


def hint_of_classes(root: str, name: str) -> str:
    """How a folder named as a split is read as a class, where it could be one: it and others hold images themselves."""
    path = os.fsencode(root)
    names = subfolders(path)
    told = "; if {}/ is a class, data.class_depth=1 takes all folders for classes"
    return told.format(name) if are_classes(path, names, {}, told=True) else ""


def has_images(path: bytes) -> bool:
    """Whether a folder holds images itself, and no folders."""
    return any(map(is_image, list_directory(path))) and not subfolders(path)


def warn_of_others(path: bytes, train: bytes, others: Sequence[bytes]) -> None:
    """Log a warning where a folder beside those of the splits has the same classes, and so could be one."""
    classes = set(subfolders(os.path.join(path, train)))
    for name in others:
        shared = classes & set(subfolders(os.path.join(path, name)))
        if len(shared) > len(classes) / 2:
            log.warning(
                "%s/ is left out: it has class folders as %s/ has, but its name means no split (train, valid, test)",
                shown(name), shown(train),
            )  # fmt: skip


def note_of_low_root(root: str) -> list[str]:
    """A note where the root is itself the folder of a split, with others beside it."""
    parent, name = os.path.split(os.path.abspath(root))
    if split_of(name) is None or not os.access(parent, os.R_OK):
        return []
    others = [
        other for other in subfolders(os.fsencode(parent)) if split_of(shown(other)) not in (None, split_of(name))
    ]
    return [f"left out: {in_words(others)}, beside the root; {root_key(parent)} reads all"] if others else []


def root_key(path: str) -> str:
    """`data.root=path`, ready to paste."""
    return pasted_key("data.root", path)


def pasted_key(key: str, text: str) -> str:
    """`key=text`, ready to paste."""
    return quoted(override(key, text))


def in_words(names: Sequence[bytes]) -> str:
    """Folders as a note lists them."""
    first = ", ".join(f"{shown(name)}/" for name in names[:5])
    return f"{first} and {len(names) - 5} more" if len(names) > 5 else first
