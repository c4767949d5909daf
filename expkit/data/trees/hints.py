"""What a folder may be that holds no class folders, or no images at all: the end of the sentence that refuses it."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from expkit.data.listing import ARCHIVES, subfolders
from expkit.data.packed import Packed, shown
from expkit.data.split import compact
from expkit.data.trees.doubts import BESIDE, is_root
from expkit.data.trees.layout import pasted_key, root_key
from expkit.data.trees.left_out import Listed, counted

PATTERN = r"^(?P<label>.*[^\d\W_])[^a-zA-Z]*\.\w+$"
"""The usual file names: words and a number."""
LOOKED_AT = 1000
"""File names that a pattern is tried on."""


def hints_of_empty(root: str, listed: Sequence[Listed]) -> str:
    """What to do about a folder without images."""
    others = sum((found.others for _, found in listed), Counter[bytes]())
    packed = sorted(shown(found.examples[suffix]) for _, found in listed for suffix in ARCHIVES & set(found.examples))
    if packed:
        return f", but the archive {packed[0]}: unpack it first"
    return f", but other files: {counted(others)}" if others else ""


def hints_of_flat(root: str, prefix: bytes, names: Packed, listed: Sequence[Listed]) -> str:
    """What else a folder of images without class folders may be: labelled by names, a part of a tree, for detection."""
    others = sum((found.others for _, found in listed), Counter[bytes]())
    images = sum(found.count for _, found in listed)
    examples = [shown(name) for _, found in listed for name in found.examples.values()]
    beside = {
        compact(shown(name)) for name in subfolders(os.path.join(os.fsencode(root), os.path.dirname(prefix[:-1])))
    }
    boxes = others[b".txt"] + others[b".xml"] > images / 2 or any(
        "coco" in name or "instances" in name for name in examples
    )
    if boxes or beside & BESIDE:
        return ". Boxes or masks lie beside them: for detection or segmentation, which expkit does not train"
    tables = [name for name in examples if name.endswith((".csv", ".tsv"))]
    if tables:
        return f". With the labels in a table: data=csv data.file={os.path.join(root, tables[0])}"
    if fits(names):
        return f", as {pasted_key('data.label_pattern', PATTERN)} does"
    above = [parent for parent in islice(Path(root).absolute().parents, 2) if is_root(os.fsencode(parent))]
    return f". {root_key(str(above[-1]))} holds class folders, of which this may be one" if above and not prefix else ""


def fits(names: Packed) -> bool:
    """Whether the usual pattern finds some classes with several images each."""
    matches = [re.search(PATTERN, os.path.basename(shown(name))) for name in islice(names, LOOKED_AT)]
    words = {match["label"] for match in matches if match}
    return all(matches) and 1 < len(words) <= len(matches) / 2
