"""Which images train and which validate."""

import re
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from expkit.errors import DataError
from expkit.randomness import seed_of


class NothingToCut(DataError):
    """No image can be cut off for validation."""


class Split(IntEnum):
    """The part that an image plays."""

    TRAIN = 0
    VALID = 1
    TEST = 2


SPELLINGS = {
    Split.TRAIN: ("train", "training", "trn"),
    Split.VALID: ("valid", "val", "validation", "dev", "development", "holdout", "heldout", "validate"),
    Split.TEST: ("test", "tests", "testing", "tst", "eval", "evaluation"),
}
SPLIT_WORDS = {word: split for split, words in SPELLINGS.items() for word in words}
SECOND = {"dev", "development", "holdout", "heldout", "eval", "evaluation"}
"""Words that give way where a folder with a plainer name is beside."""
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
FILLER = "set|data|dataset|images?|imgs?|pictures|pics|photos|files|folder|split|public|private|(?:19|20)[0-9][0-9]"
NAME = re.compile(rf"(?:{FILLER})*({'|'.join(SPLIT_WORDS)})(?:{FILLER})*")
FOLD = re.compile(r"(?:k?folds?|cv|splits?)[0-9]+|[0-9]+(?:st|nd|rd|th)?folds?")


def compact(name: str) -> str:
    """A name in lower case, without spaces, hyphens, underscores and dots."""
    return re.sub(r"[\s_.\-]+", "", name).casefold()


def split_word(name: str) -> str | None:
    """The word in a name that means a split: `valid` for `Valid`, `valid_set` and `valid-images`; None for no split."""
    found = NAME.fullmatch(compact(name))
    return found[1] if found else None


def split_of(word: str) -> Split | None:
    """The split that a folder or a cell of a table names in any case, None where it names none."""
    return SPLIT_WORDS.get(split_word(word) or "")


def split_in(name: str) -> Split | None:
    """The split that a part of a name means: that of training for `seg_train`."""
    return next((SPLIT_WORDS[word] for word in re.findall("[a-z]+", name.casefold()) if word in SPLIT_WORDS), None)


def split_of_cell(cell: str, column: str) -> Split | None:
    """The split that a cell names, by itself or as yes or no below a heading such as `is_valid`; None for none."""
    flag = split_of(compact(column)[2:]) if compact(column).startswith("is") else None
    if flag is None or cell.casefold() not in FLAGS:
        return split_of(cell)
    if FLAGS[cell.casefold()]:
        return flag
    return Split.VALID if flag == Split.TRAIN else Split.TRAIN


def is_fold(name: str) -> bool:
    """Whether a name is that of a part in a cross-validation, such as `fold1`."""
    return FOLD.fullmatch(compact(name)) is not None


def cut_valid(splits: NDArray[np.int8], labels: NDArray[np.int64], valid_pct: float, seed: int) -> NDArray[np.int8]:
    """Move a stratified share of the training images to valid, unless there are valid images already.

    Raises NothingToCut if no class has the two images that a cut needs.
    """
    if (splits == Split.VALID).any():
        return splits
    train = np.flatnonzero(splits == Split.TRAIN)
    chosen = train[stratified(labels[train], valid_pct, seed)]
    if not len(chosen):
        raise NothingToCut("no class has two images, so data.valid_pct can cut none for valid; add images")
    splits = splits.copy()
    splits[chosen] = Split.VALID
    return splits


def cut_note(valid_pct: float, seed: int) -> str:
    """How `cut_valid` made the validation images, for the notes of a data set."""
    return f"valid is cut from train: data.valid_pct={valid_pct:g} of each class, data.seed={seed}"


def stratified(labels: NDArray[np.int64], valid_pct: float, seed: int) -> NDArray[np.bool_]:
    """Choose about `valid_pct` of each class: at least one image, and at least one stays; the only one stays.

    Each class has its own draw, so images added to one class do not move those of another.
    """
    chosen = np.zeros(len(labels), bool)
    order = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[order], return_index=True)
    for label, (start, stop) in zip(classes.tolist(), pairwise([*starts, len(labels)]), strict=True):
        members = order[start:stop]
        count = min(max(round(len(members) * valid_pct), 1), len(members) - 1)
        draw = np.random.default_rng(seed_of(seed, "valid", label))
        chosen[draw.permutation(members)[:count]] = True
    return chosen
