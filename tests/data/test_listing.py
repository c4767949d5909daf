import os

import pytest

from expkit.data.listing import Found, check_folder, scan
from expkit.errors import UserError


def listed(path, **options) -> tuple[list[str], Found]:
    found = Found()
    scan(os.fsencode(path), b"", found, **options)
    names = os.fsdecode(b"".join(found.texts)).split("\0")[:-1]
    assert len(names) == found.count
    return names, found


def test_images_are_found_by_suffix_in_any_case_and_sorted(tmp_path):
    for name in (
        "b.jpg",
        "a.JPEG",
        "c.Png",
        "d.txt",
        "jpg",
        "e.jpg.txt",
        "f.webp",
        "xjpeg",
        "sub/z.jpg",
        "sub/a/y.tiff",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names, found = listed(tmp_path)
    assert names == ["a.JPEG", "b.jpg", "c.Png", "f.webp", "sub/z.jpg", "sub/a/y.tiff"]
    assert found.ignored == 4


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in (".a.jpg", "._b.jpg", "c.jpg", "-d.jpg", ".git/e.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names, found = listed(tmp_path)
    assert names == ["-d.jpg", "c.jpg"]
    assert found.ignored == 0


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.jpg").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.jpg").touch()
    (root / "up").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "other")
    assert listed(root)[0] == ["a.jpg", "out/x.jpg"]


def test_a_folder_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.root: .*/gone does not exist"):
        check_folder(str(tmp_path / "gone"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"data\.root: .*/file is no folder"):
        check_folder(str(tmp_path / "file"))
