import os
import shutil

import numpy as np
import pytest

from expkit.data import UNLABELLED, Data, folders
from expkit.errors import DataError, UserError
from expkit.wiring import read


def names(images) -> list[str]:
    return [images.name(index) for index in range(len(images))]


def labels(images, data: Data) -> list[str]:
    return [data.classes[label] if label != UNLABELLED else "?" for label in images.labels]


def tree(save, *paths: str) -> None:
    for path in paths:
        save(path)


def test_train_and_valid_folders(tmp_path, save):
    tree(save, "train/dog/b.jpg", "train/cat/a.png", "train/cat/deep/er/c.jpg", "val/dog/d.jpg", "val/cat/e.jpg")
    data = folders(root=str(tmp_path))
    assert data.classes == ("cat", "dog")
    assert names(data.train) == ["train/cat/a.png", "train/cat/deep/er/c.jpg", "train/dog/b.jpg"]
    assert labels(data.train, data) == ["cat", "cat", "dog"]
    assert names(data.valid) == ["val/cat/e.jpg", "val/dog/d.jpg"]
    assert data.test is None
    assert data.train.read(0).size == (16, 12)


def test_one_tree_is_split_stratified_and_seeded(tmp_path, save):
    tree(
        save,
        *(f"{word}/{number:02d}.jpg" for word in ("cat", "dog") for number in range(10)),
        "rare/x.jpg",
        "rare/y.jpg",
    )
    data = folders(root=str(tmp_path), valid_pct=0.2)
    assert np.bincount(data.train.labels).tolist() == [8, 8, 1]
    assert np.bincount(data.valid.labels).tolist() == [2, 2, 1]
    assert not set(names(data.train)) & set(names(data.valid))
    assert names(folders(root=str(tmp_path), valid_pct=0.2).valid) == names(data.valid)
    assert names(folders(root=str(tmp_path), valid_pct=0.2, seed=1).valid) != names(data.valid)


def test_a_train_folder_without_valid_is_split(tmp_path, save):
    tree(save, *(f"train/{word}/{number}.jpg" for word in "ab" for number in range(5)), "test/x.jpg")
    data = folders(root=str(tmp_path), valid_pct=0.4)
    assert (len(data.train), len(data.valid)) == (6, 4)
    assert names(data.test) == ["test/x.jpg"]


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_flat_test_folder_is_unlabelled(tmp_path, save, prefix):
    tree(save, *(f"{prefix}{word}/{number}.jpg" for word in "ab" for number in range(3)), "test/2.jpg", "test/1.jpg")
    data = folders(root=str(tmp_path))
    assert data.classes == ("a", "b")
    assert names(data.test) == ["test/1.jpg", "test/2.jpg"]
    assert labels(data.test, data) == ["?", "?"]


def test_a_test_folder_by_class_is_labelled(tmp_path, save):
    tree(save, *(f"{word}/{number}.jpg" for word in "ab" for number in range(3)), "test/b/2.jpg")
    data = folders(root=str(tmp_path))
    assert labels(data.test, data) == ["b"]


def test_a_test_folder_that_is_half_labelled_is_an_error(tmp_path, save):
    tree(
        save,
        *(f"{word}/{number}.jpg" for word in ("cat", "dog") for number in range(3)),
        "test/cat/2.jpg",
        "test/dgo/1.jpg",
    )
    with pytest.raises(UserError, match=r"(?s)1 image of test is .*'dgo': did you mean 'dog'.*test/dgo/1\.jpg"):
        folders(root=str(tmp_path))


def test_a_class_that_only_valid_has_is_an_error(tmp_path, save):
    tree(save, "train/cat/a.jpg", "valid/cats/a.jpg")
    with pytest.raises(UserError, match=r"(?s)1 image of valid is .*'cats': did you mean 'cat'.*valid/cats/a\.jpg"):
        folders(root=str(tmp_path))


def test_a_class_without_valid_images_is_reported(tmp_path, save, caplog):
    tree(save, "train/cat/a.jpg", "train/dog/a.jpg", "valid/dog/a.jpg")
    folders(root=str(tmp_path))
    assert "no image in valid:\n  cat" in caplog.text


def test_hidden_and_other_files_are_ignored_and_counted(tmp_path, save):
    tree(save, "a/1.jpg", "a/2.jpg", "a/.hidden.jpg", ".git/x.jpg")
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "README.md").touch()
    data = folders(root=str(tmp_path))
    assert len(data.train) + len(data.valid) == 2
    assert data.classes == ("a",)
    assert any("2 files" in note and "1 .txt" in note and "1 .md" in note for note in data.notes)


def test_images_beside_the_class_folders_are_left_out_and_reported(tmp_path, save, caplog):
    tree(save, "a/1.jpg", "a/2.jpg", "plot.png")
    assert len(folders(root=str(tmp_path)).train) == 1
    assert "1 image lies beside" in caplog.text
    assert "plot.png" in caplog.text


def test_labels_come_from_file_names_by_a_pattern(tmp_path, save):
    tree(save, *(f"{word}_{number}.jpg" for word in ("great_dane", "Manx") for number in range(5)))
    data = folders(root=str(tmp_path), label_pattern=r"^(?P<label>.+)_\d+\.\w+$")
    assert data.classes == ("Manx", "great_dane")
    for images in (data.train, data.valid):
        assert [name.rsplit("_", 1)[0] for name in names(images)] == labels(images, data)


def test_a_pattern_that_does_not_fit_names_the_files(tmp_path, save):
    tree(save, "a_1.jpg", "b_1.jpg", "odd.jpg")
    with pytest.raises(UserError, match=r"(?s)label_pattern .* does not fit 1 file names.*odd\.jpg"):
        folders(root=str(tmp_path), label_pattern=r"^(?P<label>.+)_\d+\.\w+$")


def test_classes_have_readable_names(tmp_path, save):
    tree(save, *(f"{word}/{number}.jpg" for word in ("n01", "n02") for number in range(2)))
    assert folders(root=str(tmp_path), class_names={"n02": "church", "n01": "tench"}).classes == ("tench", "church")
    with pytest.raises(UserError, match=r"class_names has 'n03'.*did you mean"):
        folders(root=str(tmp_path), class_names={"n03": "x"})
    with pytest.raises(UserError, match="two classes the same name"):
        folders(root=str(tmp_path), class_names={"n01": "n02"})


def test_the_fingerprint_tells_data_apart_and_nothing_else(tmp_path, save):
    tree(save, *(f"one/{word}/{number}.png" for word in "ab" for number in range(4)))
    first = folders(root=str(tmp_path / "one")).fingerprint
    assert len(first) == 16
    assert int(first, 16) >= 0
    os.rename(tmp_path / "one", tmp_path / "two")
    root = str(tmp_path / "two")
    assert folders(root=root).fingerprint == first, "where the data lies does not matter"
    assert folders(root=root, seed=1).fingerprint != first
    assert folders(root=root, class_names={"a": "c"}).fingerprint != first
    image, before = tmp_path / "two" / "a" / "0.png", os.stat(tmp_path / "two" / "a" / "0.png")
    good = image.read_bytes()
    shutil.copyfile(tmp_path / "two" / "a" / "1.png", image)
    assert image.stat().st_size == before.st_size
    assert folders(root=root).fingerprint != first, "another image of the same size"
    image.write_bytes(good)
    assert folders(root=root).fingerprint == first, "its time does not matter"


BAD_TREES = {
    "missing": ([], "does not exist"),
    "empty": (["root/"], "holds no images in class folders"),
    "no classes": (["root/1.jpg", "root/2.jpg"], "images but no class folders.*data.label_pattern.*'1.jpg'"),
    "a class with no image": (["root/a/1.jpg", "root/b/", "root/c/x.txt"], r"2 class folders .* no image.*\n  b\n  c"),
    "valid without train": (["root/valid/a/1.jpg"], "has valid/ but no train/"),
    "two valid": (["root/train/a/1.jpg", "root/valid/a/1.jpg", "root/val/a/1.jpg"], "both valid/ and val/"),
    "nothing in valid": (["root/train/a/1.jpg", "root/valid/"], "valid/ holds no images"),
}


@pytest.mark.parametrize("case", BAD_TREES)
def test_bad_trees_are_refused(tmp_path, save, case):
    paths, message = BAD_TREES[case]
    for path in paths:
        if path.endswith(".jpg"):
            save(path)
        elif path.endswith("/"):
            (tmp_path / path).mkdir(parents=True)
        else:
            (tmp_path / path).parent.mkdir(parents=True)
            (tmp_path / path).touch()
    with pytest.raises(UserError, match=f"(?s){message}"):
        folders(root=str(tmp_path / "root"))


@pytest.fixture
def with_bad(tmp_path, save):
    """Twenty images of two classes, of which twelve of class a are empty files."""
    tree(save, *(f"{word}/{number:02d}.jpg" for word in "ab" for number in range(16)))
    for number in range(12):
        (tmp_path / "a" / f"{number:02d}.jpg").write_bytes(b"")
    return str(tmp_path)


def test_bad_images_are_named_in_one_message(with_bad):
    with pytest.raises(UserError) as raised:
        folders(root=with_bad)
    message = str(raised.value)
    assert "12 images" in message
    assert "a/00.jpg is empty" in message
    assert "a/09.jpg" in message
    assert "a/10.jpg" not in message
    assert "and 2 more" in message
    assert "data.on_bad_image=skip" in message


def test_bad_training_images_are_skipped_and_reported(with_bad, caplog):
    data = folders(root=with_bad, on_bad_image="skip", valid_pct=0.25)
    assert np.bincount(data.train.labels).tolist() == [3, 12]
    assert np.bincount(data.valid.labels).tolist() == [1, 4]
    assert min(names(data.train)) == "a/12.jpg" or min(names(data.valid)) == "a/12.jpg"
    assert "12 images" in caplog.text
    assert "a/00.jpg is empty" in caplog.text
    assert all(data.train.read(index).mode == "RGB" for index in range(len(data.train)))


def test_bad_valid_images_are_never_skipped(tmp_path, save):
    tree(save, "train/a/1.jpg", "train/a/2.jpg", "valid/a/1.jpg", "valid/a/x.jpg")
    (tmp_path / "valid/a/x.jpg").write_text("<html>")
    (tmp_path / "train" / "a" / "2.jpg").write_text("<html>")
    with pytest.raises(UserError, match=r"(?s)1 image .*valid/a/x\.jpg holds a web page") as raised:
        folders(root=str(tmp_path), on_bad_image="skip")
    assert "train/a/2.jpg" not in str(raised.value)
    with pytest.raises(UserError, match=r"1 are for valid"):
        folders(root=str(tmp_path))


@pytest.mark.parametrize("part", ["test/a", "test"])
@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_bad_test_images_block_no_training(tmp_path, save, caplog, part, on_bad_image):
    tree(save, "train/a/1.jpg", "valid/a/1.jpg", f"{part}/x.jpg")
    (tmp_path / part / "x.jpg").write_text("<html>")
    data = folders(root=str(tmp_path), on_bad_image=on_bad_image)
    assert f"{part}/x.jpg holds a web page" in caplog.text
    with pytest.raises(UserError, match=r"x\.jpg"):
        data.test.read(0)


def test_a_class_left_empty_by_skipping_is_an_error(tmp_path, save):
    tree(save, "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    for number in "12":
        (tmp_path / "b" / f"{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)1 of 2 classes .* no readable training image.*\n  b"):
        read({"_target_": "expkit.data.folders", "root": str(tmp_path), "on_bad_image": "skip"})


def test_what_nothing_can_be_cut_from_cannot_train_but_be_scored(tmp_path, save):
    tree(save, "a/1.jpg", "b/1.jpg")
    node = {"_target_": "expkit.data.folders", "root": str(tmp_path)}
    with pytest.raises(DataError, match=r"^no class has two images"):
        read(node)
    data = read(node, to_train=False)
    assert (len(data.train), len(data.valid)) == (2, 0)


def test_damage_that_shows_only_when_read_names_the_file(tmp_path, save):
    tree(save, "a/1.jpg", "a/2.jpg")
    data = folders(root=str(tmp_path))
    path = tmp_path / data.train.name(0)
    content = path.read_bytes()
    path.write_bytes(content[:300] + content[-2:])
    with pytest.raises(UserError, match=r"a/\d\.jpg"):
        data.train.read(0)


def test_arguments_are_checked():
    with pytest.raises(UserError, match="valid_pct must be"):
        folders(root=".", valid_pct=1.0)
    with pytest.raises(UserError, match="on_bad_image must be"):
        folders(root=".", on_bad_image="ignore")
