import unicodedata
from pathlib import Path

import pytest

from expkit.data import csv
from expkit.errors import UserError
from tests.data.tables.test_reader import pasted

NAMES = [f"{number}_größe.jpg" for number in range(8)]


@pytest.fixture
def project(tmp_path, save, monkeypatch):
    """Eight images in photos/all/, seen from the folder that holds photos/."""
    for name in NAMES:
        save(f"photos/all/{name}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(cells, path: str = "photos/labels.csv") -> str:
    rows = [f"{cell},{'cat' if number % 2 else 'dog'}" for number, cell in enumerate(cells)]
    Path(path).write_text("\n".join(["file,label", *rows]), "utf-8")
    return path


def check_mended(file: str, key: str, **given) -> None:
    """The table is refused for all its rows alike, and read with the one key that the message names."""
    with pytest.raises(UserError) as refused:
        csv(file=file, **given)
    found = pasted(str(refused.value))
    assert list(found) == key.split()
    data = csv(**{"file": file, **given, **found})
    assert len(data.train) + len(data.valid) == 8


WRITTEN = {
    "the suffix is missing": ([f"all/{name[:-4]}" for name in NAMES], "suffix", {}),
    "the suffix is there already": ([f"all/{name}" for name in NAMES], "suffix", {"suffix": ".jpg"}),
    "the root is missing": (NAMES, "root", {}),
    "the root stands twice": ([f"photos/all/{name}" for name in NAMES], "root", {"root": "photos/all"}),
    "paths start from the working directory": ([f"photos/all/{name}" for name in NAMES], "root", {}),
    "backslashes": ([f"all\\{name}" for name in NAMES], "paths", {}),
    "upper case": ([f"ALL/{name.upper()}" for name in NAMES], "paths", {}),
    "Unicode in parts": ([f"all/{unicodedata.normalize('NFD', name)}" for name in NAMES], "paths", {}),
    "a path of another machine": ([f"/home/me/my data/all/{name}" for name in NAMES], "strip", {}),
    "a path of another system": ([f"C:\\Users\\me\\all\\{name}" for name in NAMES], "strip paths", {}),
    "two things": ([name[:-4] for name in NAMES], "root suffix", {}),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_where_every_row_fails_alike_the_key_is_named(project, case):
    cells, key, given = WRITTEN[case]
    check_mended(listed(cells), key, **given)


def test_names_in_one_unicode_form_find_files_in_the_other(project, save):
    name = "café.jpg"
    save(f"photos/{unicodedata.normalize('NFD', name)}")
    save(f"photos/{unicodedata.normalize('NFC', 'thé.jpg')}")
    cells = [unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", "thé.jpg")]
    file = listed([cell for cell in cells for _ in (0,)] + [f"all/{name}" for name in NAMES[:6]])
    check_mended(file, "paths")


def test_loose_names_that_fit_two_files_are_refused(project, save):
    save("photos/all/a.jpg")
    save("photos/all/A.jpg")
    file = listed(["all/A.JPG", *(f"all/{name}" for name in NAMES)])
    with pytest.raises(UserError, match=r"finds 'A\.jpg' and 'a\.jpg' in all for 'all/A\.JPG'"):
        csv(file=file, paths="loose")
    assert (
        len(csv(file=listed(["all/A.jpg", "all/a.jpg", *(f"ALL/{name}" for name in NAMES)]), paths="loose").train) == 8
    )


def test_absolute_paths_below_the_root_are_fine(project, save):
    data = csv(file=listed([str(project / "photos" / "all" / name) for name in NAMES]))
    assert data.train.name(0).startswith("all/")
    (project / "link").symlink_to(project / "photos")
    assert len(csv(file=listed([str(project / "photos" / "all" / name) for name in NAMES]), root="link").train) == 6
    save("elsewhere/a.jpg")
    save("elsewhere/b/b.jpg")
    rows = [str(project / "elsewhere" / name) for name in ("a.jpg", "b/b.jpg")]
    with pytest.raises(UserError, match=r"data\.root=/\S+/elsewhere/?$"):
        csv(file=listed(rows))
    with pytest.raises(UserError, match=r"row 2: /\S+ leads out of the root photos/all"):
        csv(file=listed([str(project / "photos" / "labels.csv"), *NAMES]), root="photos/all")


def test_some_missing_files_are_named_each_by_itself(project):
    file = listed([*(f"all/{name}" for name in NAMES), "all/gone.jpg"])
    with pytest.raises(UserError, match=r"(?s)1 image .*row 10: all/gone\.jpg does not exist"):
        csv(file=file)


def test_files_that_are_nowhere_are_looked_for_in_vain_but_told(project):
    with pytest.raises(
        UserError, match=r"8 rows of .* such as row 2: x0\.jpg \(looked for as /\S*/photos/x0\.jpg\); data\.root"
    ):
        csv(file=listed([f"x{number}.jpg" for number in range(8)]))
    with pytest.raises(UserError, match="these are addresses; download"):
        csv(file=listed([f"https://example.org/{number}.jpg" for number in range(8)]))
