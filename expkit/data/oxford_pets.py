"""The Oxford-IIIT Pet dataset: 37 breeds of cats and dogs."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from expkit.check import Fraction, NotNegativeInt, checked
from expkit.data.corrections import with_corrections
from expkit.data.fetch import Archive, FetchError, check_near, fetch
from expkit.data.files import FileList, OnBadImage, checked_data
from expkit.data.items import Data
from expkit.data.listing import Found, scan
from expkit.data.packed import Packed
from expkit.data.split import Split
from expkit.data.trees.file_names import PET_BREED, PET_SPECIES, LabelPattern
from expkit.errors import UserError, first_ten
from expkit.words import many

BELOW = "oxford-iiit-pet"
"""The folder that torchvision makes below the root that it is given."""
ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
ARCHIVES = (
    Archive(f"{ADDRESS}/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c", "images"),
    Archive(f"{ADDRESS}/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f", "annotations"),
)
PATTERNS = {"breed": PET_BREED, "species": PET_SPECIES}


@checked
def pets(
    *,
    root: str = "data/pets",
    labels: Literal["breed", "species"] = "breed",
    valid_pct: Fraction | None = None,
    seed: NotNegativeInt = 0,
    download: bool = True,
    exclude: str | None = None,
    relabel: str | None = None,
    on_bad_image: OnBadImage = "error",
) -> Data:
    """Read the Oxford-IIIT Pet dataset by its official lists, and fetch it (800 MB) where the root lacks it.

    Only the images in the lists are read. Dataset: Parkhi et al., "Cats and Dogs", CVPR 2012.

    Args:
        root: folder with `images/` and `annotations/`, or with `oxford-iiit-pet/` that has them.
        labels: `breed` (37 classes, from `<Breed>_<n>.jpg`) or `species` (cat or dog, by the case of the first letter).
        valid_pct: null trains on the official trainval list and validates on the official test list; a share cuts
            valid from trainval, and the official test list becomes the labelled test set.
        seed: seed of that cut.
        download: fetch the dataset where the root lacks it.
        exclude: CSV of images to leave out, column `file` (paths below the root), such as task=audit writes.
        relabel: CSV of labels to put right, columns `file` and `label`; both move no other image over a cut.
        on_bad_image: `skip` leaves out and reports unreadable training images; `error` stops at any.

    Raises UserError if the dataset is not there and cannot be fetched, and for damaged lists and images.
    """
    folder = find_layout(Path(root)) or fetched(Path(root), download)
    trainval, test = (read_list(folder / "annotations" / name) for name in ("trainval.txt", "test.txt"))
    both = sorted(set(trainval) & set(test))
    if both:
        which = many(len(both), "image is", "images are")
        raise UserError(f"{which} in both trainval.txt and test.txt of {folder}:\n{first_ten(both)}")
    names = Packed.from_names(os.fsencode(f"images/{name}.jpg") for name in trainval + test)
    words, codes = LabelPattern(PATTERNS[labels]).label(names)
    held_out = Split.VALID if valid_pct is None else Split.TEST
    splits = np.repeat(np.array([Split.TRAIN, held_out], np.int8), [len(trainval), len(test)])
    notes = notes_of_lists(folder, len(names), held_out)
    files = FileList(str(folder), names, codes, splits, tuple(words), str(folder), notes=notes)
    return checked_data(with_corrections(files, exclude, relabel), on_bad_image, valid_pct, seed)


def notes_of_lists(folder: Path, listed: int, held_out: Split) -> tuple[str, ...]:
    """What the official lists are used for, and how many images are in none."""
    found = Found()
    scan(os.fsencode(folder / "images"), b"", found, nested=False)
    notes = [f"{held_out.name.lower()} is the official test list"]
    if found.count > listed:
        notes.append(f"left out: {many(found.count - listed, 'image', 'images')} in no list")
    return tuple(notes)


def find_layout(root: Path) -> Path | None:
    """The folder at or below `root` that has the official layout, None if there is none."""
    for folder in (root, root / BELOW):
        lists = [folder / "annotations" / name for name in ("trainval.txt", "test.txt")]
        if (folder / "images").is_dir() and all(path.is_file() for path in lists):
            return folder
    return None


def read_list(path: Path) -> list[str]:
    """The image names of an official list: `<Breed>_<n> <class> <species> <breed>` a line, comments after #."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    pattern = LabelPattern(PET_BREED)
    odd = [f"line {row}: {name!r}" for row, name in enumerate(names, 1) if not is_name(name, pattern)]
    if odd:
        which = many(len(odd), "line that starts", "lines that start")
        raise UserError(f"{path} has {which} with no <Breed>_<n>:\n{first_ten(odd)}")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice or not names:
        what = f"lists {many(len(twice), 'image', 'images')} twice:\n{first_ten(twice)}" if twice else "lists no image"
        raise UserError(f"{path} {what}")
    return names


def is_name(name: str, pattern: LabelPattern) -> bool:
    """Whether a listed name is a plain `<Breed>_<n>` and no path that leads elsewhere."""
    return "/" not in name and pattern.label_of(f"{name}.jpg") is not None


def fetched(root: Path, download: bool) -> Path:
    """Fetch the dataset, and give the folder that holds it."""
    check_near(root, find_layout)
    reason = "what was fetched is not whole" if download else "data.download is false"
    if download:
        try:
            for archive in ARCHIVES:
                fetch(archive, root)
        except FetchError as error:
            reason = f"it cannot be fetched ({error})"
    folder = find_layout(root)
    if folder is None:
        raise UserError(
            f"data.root: {root.absolute()} has no images/ and annotations/, and {reason}; fetch images.tar.gz and "
            "annotations.tar.gz of the Oxford-IIIT Pet dataset (www.robots.ox.ac.uk/~vgg/data/pets) "
            f"and unpack both in {root.absolute()}"
        )
    return folder
