"""Labels taken from file names by a regular expression."""

import re

import numpy as np
from numpy.typing import NDArray

from expkit.data.items import UNLABELLED
from expkit.data.packed import Packed, shown
from expkit.errors import UserError

PET_BREED = r"^(?P<label>.+)_\d+\.\w+$"
"""`<Breed>_<n>.jpg`: the breed."""
PET_SPECIES = r"^(?:(?P<cat>[A-Z])|(?P<dog>[a-z]))"
"""Cat breeds start with a capital in the Oxford-IIIT Pet dataset, dog breeds do not."""


class LabelPattern:
    r"""A regular expression that finds a label in the last part of a path.

    Its group `label` is the label: `^(?P<label>.+)_\d+\.\w+$`. Without such a group, the name of the group that takes
    part in the match is the label: `^(?:(?P<cat>[A-Z])|(?P<dog>[a-z]))`.
    Raises UserError for text that is no regular expression or has no named group.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.expression = re.compile(text)
        except re.error as error:
            raise UserError(f"data.label_pattern {text!r} is no regular expression: {error}") from None
        if not self.expression.groupindex:
            raise UserError(
                f"data.label_pattern {text!r} has no named group; write the part that is the label as (?P<label>...)"
            )

    def label_of(self, file_name: str) -> str | None:
        """The label in a file name, None where the pattern does not fit."""
        match = self.expression.search(file_name)
        if match is None:
            return None
        return match["label"] if "label" in self.expression.groupindex else match.lastgroup

    def label(self, names: Packed) -> tuple[list[str], NDArray[np.int64]]:
        """The labels that occur, sorted, and for each path the index of its label or UNLABELLED."""
        seen: dict[str | None, int] = {None: UNLABELLED}
        found = np.empty(len(names), np.int64)
        for row, name in enumerate(names):
            label = self.label_of(shown(name[name.rfind(b"/") + 1 :]))
            found[row] = seen.setdefault(label, len(seen) - 1)
        words = [word for word in seen if word is not None]
        order = sorted(range(len(words)), key=words.__getitem__)
        rank = np.empty(len(words) + 1, np.int64)
        rank[order] = np.arange(len(words))
        rank[-1] = UNLABELLED
        return sorted(words), rank[found]
