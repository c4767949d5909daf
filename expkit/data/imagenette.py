"""Imagenette: ten classes of ImageNet that are easy to tell apart."""

import os
from functools import partial
from pathlib import Path
from typing import Literal

from expkit.check import checked
from expkit.data.fetch import Archive, FetchError, check_near, fetch
from expkit.data.files import OnBadImage
from expkit.data.folder_tree import folders
from expkit.data.items import Data
from expkit.data.listing import subfolders
from expkit.errors import UserError, first_ten

ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas"
ARCHIVES: dict[object, Archive] = {
    "full": Archive(f"{ADDRESS}/imagenette2.tgz", "fe2fc210e6bb7c5664d602c3cd71e612", "imagenette2"),
    320: Archive(f"{ADDRESS}/imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3", "imagenette2-320"),
    160: Archive(f"{ADDRESS}/imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412", "imagenette2-160"),
}
NAMES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""What people call the classes, by their WordNet ids, which are the names of their folders."""


@checked
def imagenette(
    *,
    root: str = "data/imagenette",
    size: Literal["full", 320, 160] = 160,
    download: bool = True,
    exclude: str | None = None,
    relabel: str | None = None,
    on_bad_image: OnBadImage = "error",
) -> Data:
    """Read Imagenette with its own division into train and val, and fetch it where the root lacks it.

    Dataset: Howard, "Imagenette", https://github.com/fastai/imagenette.

    Args:
        root: folder with `train/<wnid>/` and `val/<wnid>/`, or with `imagenette2-160/` (or as `size` says) that has
            them or the archive `imagenette2-160.tgz`.
        size: which of the three there are: pixels of the shorter side, or `full`. Folders at the root itself are read
            whatever their size.
        download: fetch the dataset (100 MB, 340 MB for 320, 1.6 GB for full) where the root lacks it.
        exclude: CSV of images to leave out, column `file` (paths below the root), such as task=audit writes.
        relabel: CSV of labels to put right, columns `file` and `label`; both move no other image over a cut.
        on_bad_image: `skip` leaves out and reports unreadable training images; `error` stops at any.

    Raises UserError if the dataset is not there and cannot be fetched, for other folders, and for damaged images.
    """
    folder = find_layout(Path(root), ARCHIVES[size]) or fetched(Path(root), ARCHIVES[size], download)
    check_classes(folder)
    return folders(root=str(folder), class_names=NAMES, exclude=exclude, relabel=relabel, on_bad_image=on_bad_image)


def find_layout(root: Path, archive: Archive) -> Path | None:
    """The folder at or below `root` that has train/ and val/, None if there is none."""
    for folder in (root, root / archive.folder):
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return folder
    return None


def fetched(root: Path, archive: Archive, download: bool) -> Path:
    """Fetch the dataset, and give the folder that holds it."""
    check_near(root, partial(find_layout, archive=archive))
    reason = "what was fetched is not whole" if download else "data.download is false"
    if download:
        try:
            fetch(archive, root)
        except FetchError as error:
            reason = f"it cannot be fetched ({error})"
    folder = find_layout(root, archive)
    if folder is None:
        raise UserError(
            f"data.root: {root.absolute()} has no train/ and val/, and {reason}; fetch {archive.url} "
            f"and unpack it in {root.absolute()}"
        )
    return folder


def check_classes(folder: Path) -> None:
    """Raise UserError unless the class folders of train/ are those of Imagenette."""
    found = {os.fsdecode(name) for name in subfolders(os.fsencode(folder / "train"))}
    problems = [
        *(f"{wnid} ({name}) is missing" for wnid, name in NAMES.items() if wnid not in found),
        *(f"{other} is none of its classes" for other in sorted(found - NAMES.keys())),
    ]
    if problems:
        raise UserError(
            f"{folder}/train is not that of Imagenette; for other images choose data=folders:\n{first_ten(problems)}"
        )
