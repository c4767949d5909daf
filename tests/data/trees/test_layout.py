"""Split folders in any spelling, and folders that look like classes and are none."""

import re

import pytest

from expkit.data import Data, folders
from expkit.data.split import Split, is_fold, split_of
from expkit.errors import UserError


@pytest.fixture
def tree(tmp_path, save):
    """Make folders with three images each, and read the tree."""

    def make(*places: str, **keys: object) -> Data:
        for place in places:
            for number in range(3):
                save(f"{place}/{number}.png")
        return folders(root=str(tmp_path), **keys)

    return make


def by_class(*places: str) -> list[str]:
    return [f"{place}/{word}" for place in places for word in ("cat", "dog")]


SPLITS = {
    "Train": Split.TRAIN,
    "TRAINING": Split.TRAIN,
    "trn": Split.TRAIN,
    "train_set": Split.TRAIN,
    "TrainingSet": Split.TRAIN,
    "train2017": Split.TRAIN,
    "Val": Split.VALID,
    "valid images": Split.VALID,
    "validation": Split.VALID,
    "dev": Split.VALID,
    "Hold-Out": Split.VALID,
    "testing": Split.TEST,
    "test_data": Split.TEST,
    "eval": Split.TEST,
    "trainer": None,
    "valuation": None,
    "contest": None,
    "device": None,
    "fold1": None,
}


@pytest.mark.parametrize("name", SPLITS)
def test_names_of_splits_in_their_usual_spellings(name):
    assert split_of(name) == SPLITS[name]


def test_names_of_folds():
    assert all(map(is_fold, ("fold1", "Fold_02", "k-fold 3", "split1", "1st fold")))
    assert not any(map(is_fold, ("fold", "folder1", "scaffold2", "1")))


@pytest.mark.parametrize(
    ("train", "valid"),
    [("Train", "Val"), ("Training", "Validation"), ("train", "dev"), ("train", "holdout"), ("train2017", "val2017")],
)
def test_split_folders_are_read_as_such_and_told(tree, train, valid):
    data = tree(*by_class(train, valid))
    assert data.summary == "6 training and 6 validation images of 2 classes"
    assert data.classes == ("cat", "dog")
    said = [f"{name}/ is read as {split}" for name, split in ((train, "train"), (valid, "valid")) if name != "train"]
    assert list(data.notes) == said


def test_plain_names_and_a_test_set_need_no_note(tree):
    data = tree(*by_class("train", "val", "test"))
    assert data.summary == "6 training and 6 validation images of 2 classes (test: 6)"
    assert data.notes == ()


def test_a_plainer_name_is_preferred_and_the_other_named(tree):
    data = tree(*by_class("train", "val", "holdout"))
    assert data.valid.name(0).startswith("val/")
    assert data.notes == ("left out: holdout/, since val/ is there",)


@pytest.mark.parametrize("both", [("Train", "train"), ("valid", "val"), ("test", "testing")])
def test_two_folders_for_one_split_are_refused(tree, both):
    with pytest.raises(UserError, match=f"has both .*{both[1]}.* keep one of them"):
        tree(*by_class(*{"train", *both}))


def test_other_folders_beside_train_are_named_and_one_like_a_split_brings_a_warning(tree, caplog):
    data = tree(*by_class("train", "val", "later"), "figures")
    assert "left out: figures/, later/, beside train/" in data.notes
    assert "later/ is left out: it has class folders as train/ has" in caplog.text
    assert "figures" not in caplog.text


def test_a_root_one_level_too_low_is_told(tree, tmp_path):
    tree(*by_class("train", "val"))
    data = folders(root=str(tmp_path / "train"))
    assert data.notes[0] == f"left out: val/, beside the root; data.root={tmp_path} reads all"
    with pytest.raises(UserError, match=rf"no class folders.*data\.root={tmp_path} holds class folders"):
        folders(root=str(tmp_path / "train" / "cat"))


def test_a_vehicle_called_train_is_a_class(tree):
    data = tree("bus", "car", "train")
    assert data.classes == ("bus", "car", "train")
    assert data.notes[0] == "train/ is taken for a class, as are the folders beside it"


@pytest.mark.parametrize("names", [("invalid", "valid"), ("bus", "train"), ("control", "test")])
def test_classes_with_the_names_of_splits_are_read_where_that_is_said(tree, tmp_path, caplog, names):
    try:
        tree(*names)
    except UserError as error:
        said = str(error)
    else:
        said = caplog.text  # the only class left beside what is taken for a test set
    assert re.search(r"if (valid|train|test)/ is a class, data.class_depth=1 takes all folders for classes", said)
    data = folders(root=str(tmp_path), class_depth=1)
    assert (data.classes, data.test) == (names, None)


@pytest.mark.parametrize("other", ["val", "test1"])
def test_flat_folders_that_are_all_splits_are_no_classes(tree, other):
    for depth in (None, 1):
        with pytest.raises(UserError, match=r"train/ has images but no class folders") as error:
            tree("train", other, class_depth=depth)
        assert "class_depth" not in str(error.value)


def test_records_of_training_among_the_classes_are_no_class(tree):
    data = tree("cat", "dog", "outputs/toy/plots", "mlruns/0", "wandb/run")
    assert data.classes == ("cat", "dog")
    assert "left out, as programs leave them: mlruns/, outputs/, wandb/" in data.notes


REFUSED = {
    "folds": (by_class("fold1", "fold2", "fold3"), r"folds of a cross-validation, not classes.*data\.class_depth=2"),
    "prefixed splits": (["seg_train/seg_train/cat", "seg_test/seg_test/cat", "seg_pred/x"], "look like splits"),
    "suffixed splits": (["cats_train", "cats_val", "dogs_train", "dogs_val"], "look like splits, not classes"),
    "one level": (by_class("archive"), r"single class folder, archive/.*data\.root=ROOT/archive was probably meant"),
    "splits below": (by_class("a/Train", "a/Val"), r"a/ .* holds splits \(Train/, Val/\): data\.root=ROOT/a was"),
    "splits and figures": ([*by_class("a/train", "a/val"), "docs"], r"a/ .* is no class.*data\.root=ROOT/a was"),
    "three levels": (by_class("x/y/z"), r"data\.root=ROOT/x/y/z was probably meant"),
    "a folder between": (by_class("train/images", "val/images"), r"data\.class_depth=2 was probably meant"),
    "sites": (by_class("siteA", "siteB"), r"class_depth=1 for siteA/.*class_depth=2 for cat/.*data\.root=ROOT/siteA"),
    "kinds": (["animals/cat", "animals/dog", "things/bed", "things/cup"], r"class_depth=1 for animals/.*=2 for bed/"),
    "splits inside": (["cat/train", "cat/val", "dog/train", "dog/val"], "hold splits .*other way round, as train/cat/"),
    "boxes": (["images/train", "labels/train"], "detection or segmentation"),
    "masks": (["images", "masks"], "detection or segmentation"),
    "boxes in splits": (["train/images", "train/labels", "valid/images"], "detection or segmentation"),
    "no train": (by_class("Trian", "Val"), "has Val/ but no train/"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_are_no_classes_are_refused_with_what_was_meant(tree, tmp_path, case):
    places, message = REFUSED[case]
    with pytest.raises(UserError, match=message.replace("ROOT", re.escape(str(tmp_path)))):
        tree(*places)


def test_the_root_that_was_meant_can_be_pasted(tree, tmp_path):
    with pytest.raises(UserError, match=re.escape(f"""'data.root="{tmp_path}/my data, 1"' was probably meant""")):
        tree(*by_class("my data, 1"))


def test_the_depth_of_the_class_folders_can_be_said(tree):
    data = tree(*by_class("fold1", "fold2", "fold3"), class_depth=2)
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.valid) == 18
    assert {data.train.name(index).split("/")[1] for index in range(len(data.train))} == {"cat", "dog"}
    assert tree(class_depth=1).classes == ("fold1", "fold2", "fold3")
    with pytest.raises(UserError, match="no class folders"):
        tree(class_depth=3)
    with pytest.raises(UserError, match=r"label_pattern .* leave data\.class_depth out"):
        tree(class_depth=1, label_pattern="(?P<label>.)")


HEALTHY = {
    "deep": ["train/cat", "train/cat/deep/er", "train/dog", "valid/cat/x", "valid/dog"],
    "a folder below each": ["cat/images", "dog/images"],
}


@pytest.mark.parametrize("case", HEALTHY)
def test_images_may_lie_below_their_class(tree, case):
    data = tree(*HEALTHY[case])
    assert data.classes == ("cat", "dog")
    assert not any("class_depth" in note for note in data.notes)


def test_years_and_sessions_below_classes_are_told_and_nothing_more(tree):
    data = tree("cat/2021", "cat/2022", "dog/2021", "dog/2022")
    assert data.classes == ("cat", "dog")
    assert data.notes[0].startswith("images lie in folders below their class (2021/, 2022/); data.class_depth=2")


def test_a_detection_set_without_class_folders_is_named(tmp_path, tree):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "_annotations.coco.json").write_text("{}")
    with pytest.raises(UserError, match=r"no class folders.*detection or segmentation"):
        tree("train")


def test_pets_are_named_where_their_lists_lie_beside(tmp_path, tree):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "trainval.txt").touch()
    with pytest.raises(UserError, match=rf"if it is Oxford-IIIT Pets write data=pets data\.root={tmp_path}"):
        tree("images")


def test_archives_that_are_packed_and_tables_beside_are_named(tmp_path, tree):
    (tmp_path / "cats.zip").touch()
    with pytest.raises(UserError, match=r"no images in class folders, but the archive cats\.zip: unpack it"):
        tree()
    with pytest.raises(UserError, match=r"cats\.zip is an archive, to be unpacked"):
        folders(root=str(tmp_path / "cats.zip"))
    (tmp_path / "labels.csv").touch()
    with pytest.raises(UserError, match=r"data=csv data\.file=.*labels\.csv"):
        tree(".")


def test_classes_that_are_spelt_alike_bring_a_warning(tree, caplog):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    assert len(tree("Cat", "cat", "dog ", "dog", nfc, nfd, "fox").classes) == 7
    assert "3 classes seem to be spelt in several ways" in caplog.text
    for pair in ("'Cat' (3 images) and 'cat'", "'dog' (3 images) and 'dog '", f"{nfd!r} (3 images) and {nfc!r}"):
        assert pair in caplog.text


def test_a_class_of_valid_that_differs_by_nothing_visible_is_told_so(tree):
    with pytest.raises(UserError, match=r"differs from .* in its Unicode form \(NFC, NFD\) only; rename one"):
        tree("train/caf\u00e9", "train/fox", "valid/cafe\u0301")


def test_patterns_that_tell_no_classes_are_refused(tmp_path, save):
    for word in ("cat", "dog"):
        for number in range(3):
            save(f"{word}.{number}.png")
    with pytest.raises(UserError, match=r"label_pattern .* gives the single class 'png' for all 6 file names"):
        folders(root=str(tmp_path), label_pattern=r"(?P<label>\w+)$")
    with pytest.raises(UserError, match=r"gives a class of its own, such as 'cat\.0', for all 6 file names"):
        folders(root=str(tmp_path), label_pattern=r"^(?P<label>.+)\.")
    with pytest.raises(UserError, match=r"no class folders.*as .*data\.label_pattern=") as raised:
        folders(root=str(tmp_path))
    (suggested,) = re.findall(r"""data\.label_pattern="(.*)"' does""", str(raised.value))
    assert folders(root=str(tmp_path), label_pattern=suggested).classes == ("cat", "dog")
