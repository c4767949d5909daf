import numpy as np
import pytest
from torchvision.models import ResNet18_Weights

from expkit.data.label_doubts import doubt_of_flags, doubts

BREEDS = [
    "Abyssinian", "Bengal", "British_Shorthair", "Egyptian_Mau", "Maine_Coon", "american_bulldog",
    "american_pit_bull_terrier", "english_cocker_spaniel", "english_setter", "scottish_terrier",
    "staffordshire_bull_terrier", "wheaten_terrier", "yorkshire_terrier",
]  # fmt: skip
IMAGENET = set(ResNet18_Weights.DEFAULT.meta["categories"]) - {"Cardigan"}
"""One has a namesake: the dog beside the garment."""


def told(classes, counts=None) -> str:
    counts = np.full(len(classes), 20) if counts is None else np.asarray(counts)
    return "\n".join(doubts(classes, counts, ""))


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "cat scab", "scab"],
        ["rust", "scab", "scab frog_eye_leaf_spot", "frog_eye_leaf_spot", "scab frog_eye_leaf_spot complex", "complex"],
        ["a b", "a c", "b c"],
        ["beach;sea", "city", "sea"],
        ["['cat', 'dog']", "['dog']", "['owl']"],
        ["001", "010", "110"],
        ["cat", "cat and dog", "dog"],
        ["cat, dog", "cat, bird", "bird, dog"],
        ["Effusion", "Effusion|Mass", "Mass", "Mass|Nodule"],
        ["car+bus", "bus"],
    ],
)
def test_several_labels_in_one_are_asked_back(classes):
    assert "several labels an image (multi-label) cannot be trained yet" in told(sorted(classes))


@pytest.mark.parametrize(
    "classes",
    [
        BREEDS,
        sorted(IMAGENET),
        ["healthy cat", "healthy dog", "sick cat", "sick dog"],
        ["Potato___Early_blight", "Potato___healthy", "Tomato___Early_blight", "Tomato___healthy", "Corn___healthy"],
        ["A", "B", "a", "b", "c"],
        [str(number) for number in range(200)],
        [str(number) for number in range(1, 103)],
        [f"{number:03d}" for number in range(3, 300, 7)],
        ["negative", "positive"],
        ["0", "1"],
        ["3", "10"],
        ["000", "001"],
        ["NA", "None", "null"],
        [
            "apple_pie",
            "baby_back_ribs",
            "beef_carpaccio",
            "beef_tartare",
            "tuna_tartare",
            "hot_dog",
            "hot_and_sour_soup",
        ],
    ],
)
def test_plain_classes_are_no_news(classes):
    assert told(classes) == ""


def test_labels_that_differ_in_spelling_only_are_told():
    for classes in (
        ["Cat", "cat", "dog"],
        ["black cat", "black_cat", "dog"],
        ["1", "1.0", "2"],
        ["01", "1", "2"],
        ["TRUE", "True"],
    ):
        assert "1 class seems to be spelt in several ways and trains apart" in told(classes)
    assert "'Cat' (3 images) and 'cat' (40 images)" in told(["Cat", "cat", "dog"], [3, 40, 9])


@pytest.mark.parametrize("twin", ["cat\u200b", "\ufeffcat", "\uff43\uff41\uff54", "cat "])
def test_labels_that_look_the_same_are_told(twin):
    assert "spelt in several ways" in told(["cat", "dog", twin])


def test_letters_differ_by_their_case_but_not_by_spaces():
    assert told(["a", "A", "b"]) == ""
    assert "spelt in several ways" in told(["a", "a ", "b"])


def test_labels_that_stand_for_none_are_told():
    assert "20 images have the label 'nan', which trains as a class" in told(["cat", "dog", "nan"])
    assert "the label '-1'" in told(["-1", "0", "1", "2"])
    assert told(["-1", "1"]) == told(["-1", "-2", "0", "1"]) == ""


def test_labels_that_name_the_images_are_told():
    names = [f"IMG_{number}" for number in range(30)]
    assert "30 of 30 training images are the only one of their class (IMG_0, IMG_1, IMG_2, ...)" in told(
        names, [1] * 30
    )
    assert told(names, [1] * 10 + [9] * 20) == ""


def test_numbers_with_an_order_are_asked_back():
    ages = [str(age) for age in range(18, 90)]
    floats = [f"{number / 7:.2f}" for number in range(300)]
    prices = [str(price) for price in range(100, 90_000, 1301)]
    for labels in (ages, floats, prices):
        assert f"the {len(labels)} labels are numbers from" in told(labels)
        assert "regression" in told(labels)
    assert "regression" in told(floats, [1] * 300)


def test_a_one_hot_table_is_asked_back():
    header = ["file", "cat", "dog", "bird"]
    one_hot = [["0.jpg", "1", "0", "0"], ["1.jpg", "0", "1", "0"], ["2.jpg", "0", "0", "1"]]
    assert "3 columns of which each row has a single 1 (one-hot: cat, dog, bird)" in doubt_of_flags(
        header, one_hot, "cat"
    )
    assert doubt_of_flags(header, [*one_hot, ["3.jpg", "1", "1", "0"]], "cat") is None
    assert doubt_of_flags(header, one_hot, "file") is None
