import numpy as np
import pytest
from sklearn import datasets

from expkit.data import UNLABELLED, array, digits
from expkit.errors import UserError


def noise(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


PIXELS, LABELS = noise(20, 6, 8, 3), np.repeat([0, 1], 10)


def test_arrays_in_memory_are_split_and_read():
    data = array(images=PIXELS, labels=LABELS, valid_pct=0.3)
    assert data.classes == ("0", "1")
    assert np.bincount(data.train.labels).tolist() == [7, 7]
    assert np.bincount(data.valid.labels).tolist() == [3, 3]
    for images in (data.train, data.valid):
        for index in range(len(images)):
            row = int(images.name(index).removeprefix("row "))
            assert (np.asarray(images.read(index)) == PIXELS[row]).all()
            assert (images.pixels[index] == PIXELS[row]).all()
            assert images.labels[index] == LABELS[row]
    assert data.train.read(0).mode == "RGB"


def test_grey_images_are_read_as_rgb():
    data = array(images=PIXELS[..., 0], labels=LABELS, layout="HW")
    assert data.train.pixels.shape == (16, 6, 8)
    row = int(data.train.name(0).removeprefix("row "))
    assert (np.asarray(data.train.read(0)) == PIXELS[row, :, :, :1]).all()


def test_an_npy_file_stays_on_disk(tmp_path):
    np.save(tmp_path / "images.npy", PIXELS)
    np.save(tmp_path / "labels.npy", LABELS)
    data = array(images=str(tmp_path / "images.npy"), labels=str(tmp_path / "labels.npy"))
    assert isinstance(data.train.base, np.memmap)
    assert isinstance(array(images=str(tmp_path / "images.npy"), labels=LABELS, layout="HWC").valid.base, np.memmap)
    in_memory = array(images=PIXELS, labels=LABELS)
    assert data.fingerprint == in_memory.fingerprint
    assert (data.train.pixels == in_memory.train.pixels).all()


def test_all_parts_from_one_npz_file(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        x_train=PIXELS,
        y_train=LABELS,
        x_valid=noise(3, 6, 8, 3),
        y_valid=[1, 0, 1],
        x_test=noise(2, 5, 5, 3),
    )
    data = array(
        source=str(tmp_path / "x.npz"), images="x_train", labels="y_train", valid_images="x_valid",
        valid_labels="y_valid", test_images="x_test", classes=["cat", "dog"],
    )  # fmt: skip
    assert (len(data.train), len(data.valid), len(data.test)) == (20, 3, 2)
    assert data.valid.labels.tolist() == [1, 0, 1]
    assert data.test.labels.tolist() == [UNLABELLED] * 2
    assert data.classes == ("cat", "dog")


def test_usual_names_in_an_npz_file_need_no_key(tmp_path):
    np.savez(tmp_path / "x.npz", images=PIXELS, labels=LABELS)
    assert len(array(source=str(tmp_path / "x.npz")).train) == 16


def test_a_trusted_function_by_name_and_with_arguments():
    data = array(source="sklearn.datasets.load_digits", layout="HW", white=16.0)
    assert len(data.train) + len(data.valid) == 1797
    few = array(source={"_target_": "sklearn.datasets.load_digits", "n_class": 3}, layout="HW", white=16.0)
    assert few.classes == ("0", "1", "2")


def test_a_function_that_is_not_trusted_is_refused():
    with pytest.raises(UserError, match=r"data\.source.*os\.getcwd"):
        array(source="os.getcwd")


def test_a_function_that_fails_is_named():
    with pytest.raises(UserError, match=r"data\.source: sklearn\.datasets\.load_digits failed: .*n_classes"):
        array(source={"_target_": "sklearn.datasets.load_digits", "n_classes": 3})


def test_a_function_and_its_result_can_be_given_in_memory():
    for source in (lambda: (PIXELS, LABELS), {"data": PIXELS, "target": LABELS}, (PIXELS, LABELS)):
        assert len(array(source=source).train) == 16
    with pytest.raises(UserError, match="gave a list"):
        array(source=lambda: [1])


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", images=np.array([{}], object), labels=[0])
    with pytest.raises(UserError, match=r"data\.images: .*x\.npy cannot be read.*(pickle|Python objects)"):
        array(images=str(tmp_path / "x.npy"), labels=[0])
    with pytest.raises(UserError, match=r"data\.images: .*'images' .* cannot be read.*(pickle|Python objects)"):
        array(source=str(tmp_path / "x.npz"))


@pytest.mark.parametrize("labels", [["b", "a"] * 10, np.array(["b", "a"] * 10, object)])
def test_text_labels_are_classes(labels):
    data = array(images=PIXELS, labels=labels)
    assert data.classes == ("a", "b")
    assert data.train.labels[0] == int(labels[int(data.train.name(0).removeprefix("row "))] == "b")


def test_given_class_names_fix_the_order():
    assert array(images=PIXELS, labels=["b", "a"] * 10, classes=["b", "a"]).classes == ("b", "a")
    assert array(images=PIXELS, labels=LABELS, classes=["b", "a"]).classes == ("b", "a")


def test_numbers_with_gaps_are_numbered_anew():
    data = array(images=PIXELS, labels=np.repeat([3, 10], 10))
    assert data.classes == ("3", "10")
    assert set(data.train.labels.tolist()) == {0, 1}


MISTAKES = {
    "lengths": ({"labels": LABELS[:5]}, r"data\.labels has shape 5, expected 20: one label an image"),
    "label shape": ({"labels": LABELS[:, None]}, r"data\.labels has shape 20 x 1"),
    "label type": ({"labels": LABELS / 2}, r"data\.labels holds float64 values"),
    "one-hot labels": ({"labels": np.eye(2)[LABELS]}, r"20 x 2, .*one-hot: give labels\.argmax\(axis=1\)"),
    "several labels": ({"labels": np.ones((20, 3), bool)}, "multi-label.* cannot be trained yet"),
    "a column of labels": ({"labels": LABELS[:, None]}, r"give labels\[:, 0\]"),
    "whole floats": ({"labels": LABELS + 1.0}, r"data\.labels holds float64 values.* give labels\.astype\(int\)"),
    "a quantity": ({"labels": LABELS / 3}, "regression"),
    "missing numbers": ({"labels": np.where(LABELS, np.nan, 1)}, "10 are no number, such as row 10"),
    "missing texts": ({"labels": np.array(["a", None] * 10, object)}, "10 labels that are no text:.*row 1: None"),
    "bytes": ({"labels": np.array([b"a", b"b"] * 10)}, r"labels\.astype\(str\)"),
    "black images": ({"images": PIXELS > 128}, r"no value above 1 .* all is black; .* set data\.white=1"),
    "shape": ({"images": PIXELS[0]}, r"data\.images has shape 6 x 8 x 3, expected N x height x width"),
    "no file": ({"images": "gone.npy"}, r"data\.images: .*gone\.npy does not exist"),
    "no array": ({"images": "x"}, r"data\.images: 'x' is no \.npy file and .* no data\.source"),
    "no images": ({"images": None}, r"data\.images is missing"),
    "only half of valid": ({"valid_images": PIXELS}, r"data\.valid_labels is missing"),
    "unknown valid": (
        {"valid_images": PIXELS[:3], "valid_labels": [0, 1, 7]},
        r"data\.valid_labels has 1 label that is no class.*row 2: 7",
    ),
    "label out of names": ({"labels": np.arange(20) % 3, "classes": ["a", "b"]}, r"data\.labels has 6 .*row 2: 2"),
    "a class with no image": ({"classes": ["a", "b", "c"]}, r"1 of 3 data\.classes have no training image.*c"),
    "a class twice": ({"classes": ["a", "a"]}, "same name twice"),
    "npy as source": ({"source": "x.npy"}, r"name it as data\.images"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case):
    given, message = MISTAKES[case]
    with pytest.raises(UserError, match=f"(?s){message}"):
        array(**{"images": PIXELS, "labels": LABELS, **given})


def test_doubtful_labels_are_told(caplog):
    array(images=noise(40, 4, 4), layout="HW", labels=["cat", "Cat", "dog", "nan"] * 10)
    assert "data.labels: 1 class seems to be spelt in several ways" in caplog.text
    assert "the label 'nan'" in caplog.text
    caplog.clear()
    array(images=noise(40, 4, 4), layout="HW", labels=np.arange(40) % 20 * 7 + 18)
    assert "the 20 labels are numbers from 18 to 151" in caplog.text
    caplog.clear()
    array(images=noise(40, 4, 4), layout="HW", labels=np.arange(40) % 20)
    array(images=noise(40, 4, 4), layout="HW", labels=np.array([1, 0] * 20, object))
    assert not caplog.records


def test_a_misspelt_name_gets_the_nearest(tmp_path):
    np.savez(tmp_path / "x.npz", pictures=PIXELS, labels=LABELS)
    with pytest.raises(UserError, match=r"'picture' .*did you mean 'pictures'"):
        array(source=str(tmp_path / "x.npz"), images="picture")
    with pytest.raises(UserError, match=r"data\.images is missing.*has pictures, labels"):
        array(source=str(tmp_path / "x.npz"))


def test_a_file_that_is_no_numpy_file_is_named(tmp_path):
    for name, keys in (("x.npz", {"source": str(tmp_path / "x.npz")}), ("x.npy", {"images": str(tmp_path / "x.npy")})):
        (tmp_path / name).write_bytes(b"hello, I am text")
        with pytest.raises(UserError, match=f"{name} cannot be read as a NumPy file"):
            array(**keys)


def test_the_fingerprint_covers_pixels_labels_and_split():
    prints = {
        array(images=PIXELS, labels=LABELS).fingerprint,
        array(images=PIXELS ^ (np.arange(20)[:, None, None, None] == 3), labels=LABELS).fingerprint,
        array(images=PIXELS, labels=1 - LABELS).fingerprint,
        array(images=PIXELS, labels=LABELS, seed=1).fingerprint,
        array(images=PIXELS, labels=LABELS, classes=["a", "b"]).fingerprint,
    }
    assert len(prints) == 5
    assert array(images=PIXELS.copy(), labels=LABELS.copy()).fingerprint in prints


def test_digits_are_those_of_scikit_learn():
    data, reference = digits(), datasets.load_digits()
    assert data.classes == tuple("0123456789")
    assert len(data.valid) == pytest.approx(0.2 * 1797, abs=5)
    for images in (data.train, data.valid):
        assert (images.pixels == np.rint(reference.images[images.rows] * 255 / 16)).all()
        assert (images.labels == reference.target[images.rows]).all()
    assert sorted([*data.train.rows, *data.valid.rows]) == list(range(1797))


def test_some_of_the_digits_are_classes_of_their_own():
    every, some = digits(), digits(classes=[7, 5])
    assert some.classes == ("5", "7")
    for part in ("train", "valid"):
        whole, chosen = getattr(every, part), getattr(some, part)
        assert len(chosen) == np.isin(whole.labels, [5, 7]).sum()
    five = datasets.load_digits().images[datasets.load_digits().target == 5]
    found = np.concatenate([part.pixels[part.labels == 0] for part in (some.train, some.valid)])
    assert sorted(map(bytes, found)) == sorted(map(bytes, np.round(five * 255 / 16).astype(np.uint8)))
    assert digits(classes=[5, 7]).fingerprint == some.fingerprint != digits(classes=[5, 6]).fingerprint


@pytest.mark.parametrize("classes", [[], [10], [-1], ["5"]])
def test_digits_that_there_are_not_are_refused(classes):
    with pytest.raises(UserError, match="classes must be a list"):
        digits(classes=classes)
