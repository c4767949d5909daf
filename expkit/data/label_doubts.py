"""What looks wrong with labels that are taken for plain classes: asked back in a warning, never mended by a guess.

Warnings must be rare and right, so each rule below says what healthy data set it spares.
"""

import json
import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from expkit.command import pasted
from expkit.errors import first_ten
from expkit.words import many

log = logging.getLogger("expkit.data")

MISSING = {"", "nan", "n/a", "<na>", "#n/a", "-1"}
"""Texts that stand for no label; `None`, `null` and `NA` are names that people give (no defect, Namibia)."""
SINGLE = 0.5
"""The share of images that are the only one of their class, above which a label looks like a name of the image."""
FEW = 10
"""Classes of which there may be that few images each, such as in a try-out."""
NUMBERS = 20
"""Distinct numbers from which a column looks like a quantity."""
LISTING = ",;|+&"
"""Signs that lists are written with; the others stand in names, too."""
SIGNS = {
    ",": "commas", ";": "semicolons", "|": "bars", "+": "plus signs", "&": "ampersands", "/": "slashes", " ": "spaces",
    "_": "underscores", "-": "hyphens", ":": "colons", " and ": "the word and",
}  # fmt: skip
SEVERAL = "each combination trains as a class of its own; several labels an image (multi-label) cannot be trained yet"
ONES = {"1", "1.0", "true"}
FLAGS = ONES | {"0", "0.0", "-1", "false"}


def warn_of_labels(
    classes: Sequence[str], counts: NDArray[np.integer], where: str, mend: str = "", hint_of_single: str = ""
) -> None:
    """Log a warning for each thing that looks wrong with classes that have `counts` images.

    `where` is what the labels come from, as a message names it; `mend` the key that renames and merges classes, if any;
    `hint_of_single` is how there could be more classes than one.
    """
    if len(classes) == 1:
        log.warning("%s: there is only %r, and nothing to tell it from%s", where, classes[0], hint_of_single)
        return
    for doubt in doubts(classes, counts, mend):
        log.warning("%s: %s", where, doubt)


def doubts(classes: Sequence[str], counts: NDArray[np.integer], mend: str) -> Iterable[str]:
    """Each doubt as a sentence."""
    yield from doubts_of_spelling(classes, counts, mend)
    yield from doubts_of_missing(classes, counts)
    several = [doubt_of_several(classes), doubt_of_singles(classes, counts), doubt_of_numbers(classes)]
    yield from [doubt for doubt in several if doubt][:1]


def doubts_of_spelling(classes: Sequence[str], counts: NDArray[np.integer], mend: str) -> Iterable[str]:
    """Labels that differ in case, spaces, hyphens, Unicode or the form of a number only, such as `cat` and `Cat`.

    Letters that differ in case are spared: they are classes of their own.
    """
    alike: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(classes):
        alike[essence(name)].append(place)
    groups = [places for places in alike.values() if len(places) > 1]
    if groups:
        lines = (
            " and ".join(f"{classes[place]!r} ({many(counts[place], 'image', 'images')})" for place in places)
            for places in groups
        )
        yield (
            f"{many(len(groups), 'class seems', 'classes seem')} to be spelt in several ways and "
            f"{'trains' if len(groups) == 1 else 'train'} apart; spell them alike"
            f"{mend and f', or merge them with {merging(classes, counts, groups, mend)}'}:\n"
            f"{first_ten(lines, len(groups))}"
        )


def merging(classes: Sequence[str], counts: NDArray[np.integer], groups: Sequence[Sequence[int]], key: str) -> str:
    """The setting that gives all spellings the commonest one's name; the key alone where Hydra could not read it."""
    pairs = []
    for places in groups[:10]:
        common = max(places, key=lambda place: counts[place])
        pairs += [(classes[place], classes[common]) for place in places if place != common]
    if len(groups) > 10 or any(not re.fullmatch(r"[A-Za-z][\w .-]*|\d+(\.\d+)?", rare, re.ASCII) for rare, _ in pairs):
        return key
    return pasted(f"{key}={{{', '.join(f'{rare}: {json.dumps(common)}' for rare, common in pairs)}}}")


def essence(name: str) -> str:
    """What stays of a label without case, spaces, hyphens, underscores, Unicode form and the way to write a number.

    A single letter keeps its case, and what cannot be seen goes.
    """
    number = number_of(name)
    if number is not None:
        return f"{number:g}"
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf").strip()
    return seen if len(seen) < 2 else re.sub(r"[\s_\-]+", " ", seen).strip().casefold()


def number_of(name: str) -> float | None:
    """A label as a number, None for text; 007 is a number in this."""
    return float(name) if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", name.strip()) else None


def doubts_of_missing(classes: Sequence[str], counts: NDArray[np.integer]) -> Iterable[str]:
    """Labels that stand for none: `nan`, or -1 among numbers that are not negative."""
    negative = [name for name in classes if name.startswith("-")]
    found = [place for place, name in enumerate(classes) if name.casefold() in MISSING]
    for place in found:
        if classes[place] == "-1" and (negative != ["-1"] or len(classes) < 3):
            continue
        yield (
            f"{many(counts[place], 'image has', 'images have')} the label {classes[place]!r}, which trains as a "
            "class like any other; if it "
            "means that there is none, leave them out"
        )


def doubt_of_several(classes: Sequence[str]) -> str | None:
    """Labels that look like several: `cat scab` beside `cat` and `scab`.

    Classes that share words, such as breeds, are spared: their words are no classes, or have their fixed place.
    """
    for look, what in ((r"[\[({].*[\])}]", "lists in brackets"), ("[01]{3,}", "rows of 0 and 1")):
        if len(classes) > 2 and all(re.fullmatch(look, label) for label in classes):
            return f"they look like {what} ({', '.join(map(repr, classes[:3]))}), so that {SEVERAL}"
    for sign, name in SIGNS.items():
        parts = {label: [part.strip() for part in label.split(sign) if part.strip()] for label in classes}
        several = [label for label in classes if len(parts[label]) > 1]
        if several and is_set_like(parts, several, sign):
            return (
                f"{len(several)} of {len(classes)} classes {'looks' if len(several) == 1 else 'look'} like "
                f"several labels with {name} between "
                f"({', '.join(map(repr, several[:3]))}), so that {SEVERAL}"
            )
    return None


def is_set_like(parts: Mapping[str, list[str]], several: Sequence[str], sign: str) -> bool:
    """Whether labels are sets of words: of classes that are there too, or of fewer words in changing places."""
    uses = Counter(word for words in parts.values() for word in set(words))
    if sign in LISTING:
        return sum(any(uses[word] > 1 for word in parts[label]) for label in several) >= len(several) / 2
    alone = {words[0] for words in parts.values() if len(words) == 1}
    if sum(set(parts[label]) <= alone for label in several) >= max(1 if sign == " " else 2, len(several) / 2):
        return True
    places = {(word, place) for words in parts.values() for place, word in enumerate(words)}
    shared = sum(count > 1 for count in uses.values())
    return len(places) > len(uses) <= len(parts) and shared >= 0.75 * len(uses)


def doubt_of_singles(classes: Sequence[str], counts: NDArray[np.integer]) -> str | None:
    """Labels of which most have one image: identifiers or file names."""
    images, singles = int(counts.sum()), int((counts == 1).sum())
    if len(classes) < FEW or singles <= SINGLE * images:
        return None
    numbers = [number_of(name) for name in classes]
    hint = "numbers with an order (regression) cannot be learnt yet" if all(n is not None for n in numbers) else ""
    return (
        f"{singles} of {images} training images are the only one of their class ({', '.join(classes[:3])}, ...); do "
        f"the labels name the images? A class needs several{hint and f', and {hint}'}"
    )


def doubt_of_numbers(classes: Sequence[str]) -> str | None:
    """Many numbers with gaps, or with fractions: a quantity.

    Numbers that count 0, 1, 2, ... or 1, 2, 3, ... without large gaps, and codes such as 007, are spared.
    """
    numbers = [number_of(name) for name in classes]
    values = sorted(number for number in numbers if number is not None)
    if len(values) < len(classes) or len(values) < 3 or any(re.match(r"0\d", name) for name in classes):
        return None
    whole = all(value == int(value) for value in values)
    counting = whole and values[0] in (0, 1) and values[-1] - values[0] < 1.5 * len(values)
    if counting or (whole and len(values) < NUMBERS) or (not whole and len(values) < FEW):
        return None
    return (
        f"the {len(values)} labels are numbers from {values[0]:g} to {values[-1]:g}, which train as classes without an "
        "order; if they are a quantity: predicting one (regression) is not there yet"
    )


def doubt_of_flags(header: Sequence[str], sample: Sequence[Sequence[str]], label: str) -> str | None:
    """A label column of 0 and 1 beside others of that kind, of which each row has exactly one 1: a one-hot table."""
    flags = flag_columns(header, sample)
    if label not in flags or len(flags) < 2:
        return None
    places = [place for place, name in enumerate(header) if name in flags]
    if any(sum(row[place].strip().casefold() in ONES for place in places) != 1 for row in sample):
        return None
    return (
        f"it is one of {len(flags)} columns of which each row has a single 1 (one-hot: {', '.join(flags[:10])}), so "
        f"{label!r} trains against the rest; to tell all apart make one column of them, as with pandas: "
        "table['label'] = table[COLUMNS].idxmax(axis=1)"
    )


def flag_columns(header: Sequence[str], sample: Sequence[Sequence[str]]) -> list[str]:
    """The columns that hold nothing but 0 and 1 (or -1 and 1, true and false)."""
    found = []
    for place, name in enumerate(header):
        cells = {row[place].strip().casefold() for row in sample if len(row) > place}
        if cells and cells <= FLAGS:
            found.append(name)
    return found
