"""Links among the images."""

import os

import pytest

from expkit.data import folders
from expkit.errors import UserError


@pytest.fixture
def root(tmp_path, save):
    """Three images each of cat and dog, in a tree beside a store of more."""
    for place in ("tree/cat", "tree/dog", "store/cat", "store/dog"):
        for number in range(3):
            save(f"{place}/{number}.png")
    return tmp_path / "tree"


def count(data) -> int:
    return len(data.train) + len(data.valid)


def test_links_in_a_circle_between_classes_are_left_out_and_named(root, caplog):
    (root / "cat" / "more").symlink_to("../dog")
    (root / "dog" / "more").symlink_to("../cat")
    assert count(folders(root=str(root))) == 6
    assert "cat/more -> ../dog" in caplog.text
    assert "dog/more -> ../cat" in caplog.text


def test_links_in_a_circle_outside_are_followed_once(root, tmp_path):
    (root / "cat" / "more").symlink_to(tmp_path / "store" / "cat")
    (tmp_path / "store" / "cat" / "on").symlink_to("../dog")
    (tmp_path / "store" / "dog" / "on").symlink_to("../cat")
    (root / "self").symlink_to("self")
    assert count(folders(root=str(root))) == 12


def test_links_out_of_the_root_are_followed_and_named(root, tmp_path):
    (root / "fox").symlink_to(tmp_path / "store" / "cat")
    (root / "dog" / "9.png").symlink_to("../../store/dog/0.png")
    said = f"links are followed: dog/9.png -> ../../store/dog/0.png, fox -> {tmp_path}/store/cat"
    data = folders(root=str(root))
    assert (data.classes, count(data)) == (("cat", "dog", "fox"), 10)
    assert data.notes[-1] == said


def test_a_class_that_is_another_by_a_link_is_refused(root):
    (root / "kitty").symlink_to("cat")
    with pytest.raises(UserError, match="kitty/ and cat/ are the same folder by a link"):
        folders(root=str(root))


def test_splits_that_are_the_same_by_a_link_bring_a_warning(root, tmp_path, caplog):
    (tmp_path / "data").mkdir()
    os.rename(root, tmp_path / "data" / "train")
    (tmp_path / "data" / "valid").symlink_to("train")
    assert count(folders(root=str(tmp_path / "data"))) == 12
    assert "their images count twice" in caplog.text


def test_a_link_that_leads_nowhere_is_named_as_one(root):
    (root / "cat" / "9.png").symlink_to("gone.png")
    with pytest.raises(UserError, match=r"cat/9\.png is a link to gone\.png, which does not exist"):
        folders(root=str(root))
