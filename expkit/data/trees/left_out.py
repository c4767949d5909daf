"""What lies among the images and is not read: told with suffixes and counts, and where it bends the data set."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from expkit.data.images.formats import refused_kind
from expkit.data.listing import ARCHIVES, Found
from expkit.data.packed import shown
from expkit.data.trees.layout import in_words
from expkit.errors import first_ten
from expkit.words import many

log = logging.getLogger("expkit.data")

SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
"""How image files begin whose suffix does not tell."""
NAMED = 6
"""Suffixes named in a note."""
BIAS = 0.1
"""The difference between the shares that two classes lose from which those are told."""

Listed = tuple[bytes, Found]
"""A folder below the root and what lies in it."""


def notes_of_left_out(root: str, listed: Sequence[Listed]) -> tuple[str, ...]:
    """Notes, for `Data.notes`, on files of other suffixes and on folders that programs leave.

    Logs a warning for those that are images.
    """
    others = sum((found.others for _, found in listed), Counter[bytes]())
    images = {suffix: kind for suffix in others if (kind := kind_of(root, suffix, listed))}
    if images:
        warn_of_images(root, listed, others, images)
    rest = Counter({suffix: count for suffix, count in others.items() if suffix not in images})
    notes = [f"left out: {no_images(rest.total())} by suffix ({counted(rest)})"] if rest else []
    if ARCHIVES & set(rest):
        notes.append("archives are not looked into; unpack what is to be read")
    junk = sorted(set().union(*(found.junk for _, found in listed)))
    return (*notes, *([f"left out, as programs leave them: {in_words(junk)}"] if junk else []))


def kind_of(root: str, suffix: bytes, listed: Iterable[Listed]) -> str | None:
    """What kind of image the files of a suffix are, by the suffix or the first of them; None for no images."""
    kind = refused_kind(os.fsdecode(suffix))
    if kind is not None:
        return kind
    example = next(found.examples[suffix] for _, found in listed if suffix in found.examples)
    try:
        with open(os.path.join(os.fsencode(root), example), "rb") as file:
            head = file.read(8)
    except OSError:
        return None
    return next((f"{name} by content" for start, name in SIGNATURES.items() if head.startswith(start)), None)


def warn_of_images(root: str, listed: Sequence[Listed], others: Counter[bytes], kinds: dict[bytes, str]) -> None:
    """Log which images are left out, and of which folders, where some lose more than others."""
    counts = Counter({suffix: others[suffix] for suffix in kinds})
    shares = []
    for folder, found in listed:
        lost = sum(found.others[suffix] for suffix in kinds)
        if lost + found.count:
            shares.append((lost / (lost + found.count), f"{shown(folder)} loses {lost} of {lost + found.count}"))
    biased = max(shares)[0] - min(shares)[0] > BIAS
    lines = [line for share, line in sorted(shares, key=lambda one: -one[0]) if share] if biased else []
    log.warning(
        "%d of %d images of %s are left out, since files of this kind are not read (convert or rename them): %s%s",
        counts.total(), counts.total() + sum(found.count for _, found in listed), root, counted(counts, kinds),
        f"\n{first_ten(lines)}" if lines else "",
    )  # fmt: skip


def no_images(count: int) -> str:
    """A number of files in words."""
    return many(count, "file that is no image", "files that are no images")


def counted(counts: Counter[bytes], kinds: dict[bytes, str] | None = None) -> str:
    """Suffixes with their counts, the most frequent first: `18 .dcm (DICOM), 1 without suffix`."""
    kinds = kinds or {}
    named = counts.most_common(NAMED)
    texts = [
        f"{count} {shown(suffix) or 'without suffix'}{f' ({kinds[suffix]})' if suffix in kinds else ''}"
        for suffix, count in named
    ]
    rest = counts.total() - sum(count for _, count in named)
    return ", ".join([*texts, *([f"{rest} others"] if rest else [])])
