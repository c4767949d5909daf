"""What `task.source` may be: real photos in folders, zips and lists, and what is said of others."""

import csv
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from expkit.data.images.reading import DEFAULT
from expkit.errors import Unavailable, UserError
from expkit.trained.sources import source_of


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory, with three images: two.png and sub/odd, "name".png in photos/, and one.png."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("photos/sub")
    for value, path in enumerate(("one.png", "photos/two.png", 'photos/sub/odd, "name".png'), 1):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(path)
    return tmp_path


def seen(source):
    """The names of a source, and the shade of each of its images."""
    return [(os.fsdecode(name), np.asarray(source.read(name, None, DEFAULT))[0, 0, 0]) for name in source.names()]


ODD = 'sub/odd, "name".png'


def test_a_folder_gives_names_from_there_on_and_tells_what_it_leaves_out(place):
    (place / "photos" / "notes.txt").write_text("x")
    (place / "photos" / ".hidden.png").write_text("x")
    source = source_of("photos")
    assert seen(source) == [("two.png", 2), (ODD, 3)]
    assert source.total == 2
    assert source.notes == ("left out: 1 file that is no image by suffix (1 .txt)",)
    assert seen(source) == seen(source)


def test_a_link_that_leads_back_is_not_followed_for_ever(place):
    os.symlink("..", place / "photos" / "sub" / "back")
    os.symlink("..", place / "photos" / "sub" / "again")
    assert source_of("photos").total == 2
    assert seen(source_of("photos/**/*.png")) == [(f"photos/{ODD}", 3), ("photos/two.png", 2)]


def test_files_and_patterns_keep_their_names(place):
    assert seen(source_of("one.png")) == [("one.png", 1)]
    assert seen(source_of(["photos/two.png", "one.png"])) == [("photos/two.png", 2), ("one.png", 1)]
    assert seen(source_of("**/*.png")) == [("one.png", 1), (f"photos/{ODD}", 3), ("photos/two.png", 2)]
    for pattern in ("photos/**", "p*/**/**/*", "photos/**/s*/../t*.png", f"{place}/**/two.png"):
        assert 2 in [shade for _, shade in seen(source_of(pattern))], pattern


def test_a_name_with_the_signs_of_a_pattern_is_a_name_where_it_is_there(place):
    shutil.copy("one.png", "a[1].png")
    assert seen(source_of("a[1].png")) == [("a[1].png", 1)]


def test_a_text_leads_from_where_it_lies(place):
    (place / "photos" / "list.txt").write_bytes("\ufefftwo.png\r\n\r\n".encode() + ODD.encode())
    source = source_of("photos/list.txt")
    assert seen(source) == [("two.png", 2), (ODD, 3)]
    assert source.total == 2
    assert seen(source_of("photos/list.txt", root=str(place / "photos"))) == seen(source)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_has_its_paths_in_a_column(place, separator):
    with open("table.csv", "w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([["id", "image"], ["7", "one.png"], ["8", f"photos/{ODD}"]])
    assert seen(source_of("table.csv")) == [("one.png", 1), (f"photos/{ODD}", 3)]
    assert seen(source_of("table.csv", column="image")) == seen(source_of("table.csv"))


def test_a_table_of_one_column_needs_no_name_for_it(place):
    (place / "table.csv").write_text("one.png\nphotos/two.png\n")
    assert seen(source_of("table.csv")) == [("one.png", 1), ("photos/two.png", 2)]


def test_names_that_are_no_utf8_come_through_a_table(place):
    shutil.copy("one.png", b"caf\xe9.png")
    (place / "table.csv").write_bytes(b"file\ncaf\xe9.png\n")
    assert list(source_of("table.csv").names()) == [b"caf\xe9.png"]


def test_a_zip_is_read_where_it_is(place):
    with zipfile.ZipFile("photos.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for path in ("photos/two.png", f"photos/{ODD}"):
            made.write(path)
        made.writestr("__MACOSX/photos/._two.png", b"x")
        made.writestr("notes.txt", b"x")
    source = source_of("photos.zip")
    assert seen(source) == [("photos/two.png", 2), (f"photos/{ODD}", 3)]
    assert source.notes == ["left out: 2 files in the zip, hidden or no images by suffix"]
    child = os.fork()
    if not child:  # as a data worker reads it
        os._exit(0 if seen(source)[0] == ("photos/two.png", 2) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_file_in_a_zip_that_unpacks_to_gigabytes_is_not_unpacked(place):
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as made, made.open("big.png", "w") as file:
        for _ in range(65):
            file.write(bytes(1 << 24))
    source = source_of("bomb.zip")
    with pytest.raises(ValueError, match=r"has 1.1 GB once unpacked"):
        seen(source)


def test_a_pipe_among_the_files_is_not_waited_for(place):
    os.mkfifo(place / "photos" / "pipe.png")
    source = source_of("photos")
    with pytest.raises(ValueError, match="leads to no file"):
        source.read(b"pipe.png", None, DEFAULT)


def test_a_source_that_is_gone_is_told_from_files_that_are_damaged(place):
    source = source_of("photos")
    source.check()
    shutil.rmtree("photos")
    with pytest.raises(Unavailable, match="the folder photos is gone"):
        source.check()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


@pytest.mark.parametrize(
    ("given", "make", "expected"),
    [
        ("lacking", None, "task.source: lacking does not exist; give a folder"),
        ("a" * 300, None, "a does not exist; give a folder"),
        ("*.tif", None, "no file fits the pattern"),
        ("empty", lambda: os.mkdir("empty"), "there is no image below empty, and no other file"),
        ("texts", lambda: (os.mkdir("texts"), write("texts/a.md", b"x")), "no image below texts; left out: 1 file"),
        ("a.tar", lambda: write("a.tar", b"x"), "is an archive that is not looked into"),
        ("a.dcm", lambda: write("a.dcm", b"x"), r"of a kind that is not read \(DICOM\)"),
        ("a.xyz", lambda: write("a.xyz", b"x"), "is neither an image by its suffix, nor a list"),
        ("a.zip", lambda: write("a.zip", b"PK\3\4 cut"), "a.zip is damaged, or no zip"),
        ("a.txt", lambda: write("a.txt", b"\n"), "a.txt is empty"),
        ("a.txt", lambda: write("a.txt", b"no.png\n"), "names no.png first, which does not lie in the working"),
        ("photos/a.txt", lambda: write("photos/a.txt", b"one.png\n"), "give task.root=."),
        ("a.txt", lambda: write("a.txt", "one.png\n".encode("utf-16")), "a.txt is written in UTF-16: save it as UTF-8"),
        ("a.csv", lambda: write("a.csv", "file\none.png\n".encode("utf-16")), "a.csv is written in UTF-16"),
        ("a.csv", lambda: write("a.csv", b""), "a.csv is empty"),
        ("a.csv", lambda: write("a.csv", b"x,y\n1,2\n"), r"none of its columns \(x, y\) may: give task.column"),
        ("a.csv", lambda: write("a.csv", b"x,file\n1\n"), "line 2 of a.csv has no path"),
        ("a.csv", lambda: write("a.csv", b'file\n"one.png'), "line 2 of a.csv cannot be read"),
        (["one.png", "two.png"], None, "two.png does not exist"),
        (["photos"], None, "photos is a folder; give it alone"),
        ([], None, "is an empty list"),
    ],
)
def test_what_cannot_be_a_source_is_told_in_a_sentence(place, given, make, expected):
    if make:
        make()
    with pytest.raises(UserError, match=expected):
        source_of(given)


def test_a_zip_without_an_image(place):
    with zipfile.ZipFile("a.zip", "w") as made:
        made.writestr("notes.txt", b"x")
    with pytest.raises(UserError, match="there is no image among the 1 files"):
        source_of("a.zip")


@pytest.mark.parametrize(
    ("given", "keys", "expected"),
    [
        ("photos", {"root": "photos"}, "task.root=photos is for a list"),
        ("one.png", {"column": "file"}, "task.column=file is for a list"),
        ("-", {"column": "file"}, "task.column=file is for a table"),
        ("list.txt", {"column": "file"}, "task.column=file is for tables"),
    ],
)
def test_a_key_that_the_source_has_no_use_for_is_refused(place, given, keys, expected):
    write("list.txt", b"one.png")
    with pytest.raises(UserError, match=expected):
        source_of(given, **keys)


def test_a_column_that_is_not_there(place):
    (place / "a.csv").write_text("image,id\none.png,1\n")
    with pytest.raises(UserError, match=r"has no column 'imag'; did you mean 'image'"):
        source_of("a.csv", column="imag")


@pytest.mark.parametrize("given", ["photos", "one.png", "*.png", "-", "photos.zip", "list.txt", "table.csv"])
def test_every_source_can_be_sent_to_workers_that_are_not_forked(place, given, monkeypatch):
    with zipfile.ZipFile("photos.zip", "w") as made:
        made.write("one.png")
    write("list.txt", b"one.png")
    write("table.csv", b"one.png")
    with open("list.txt") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        source = source_of(given)
        sent = pickle.loads(pickle.dumps(source))
        names = list(source.names())
    assert names
    for name in names:
        assert sent.read(name, None, DEFAULT).size == (8, 8)
