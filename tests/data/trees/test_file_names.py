import pytest

from expkit.data.packed import Packed
from expkit.data.trees.file_names import PET_BREED, PET_SPECIES, LabelPattern
from expkit.errors import UserError


@pytest.mark.parametrize(
    ("pattern", "name", "label"),
    [
        (PET_BREED, "Abyssinian_34.jpg", "Abyssinian"),
        (PET_BREED, "american_pit_bull_terrier_100.jpg", "american_pit_bull_terrier"),
        (PET_BREED, "Abyssinian.jpg", None),
        (PET_SPECIES, "Maine_Coon_1.jpg", "cat"),
        (PET_SPECIES, "pug_1.jpg", "dog"),
        (PET_SPECIES, "1.jpg", None),
        (r"-(?P<label>\w+)\.", "ärger-größe.png", "größe"),
    ],
)
def test_the_label_in_a_name(pattern, name, label):
    assert LabelPattern(pattern).label_of(name) == label


def test_labels_are_numbered_in_sorted_order_from_the_last_part_of_the_path():
    names = Packed.from_names([b"x_1/b_1.jpg", b"a_1.jpg", b"odd", b"b_2.jpg"])
    words, codes = LabelPattern(PET_BREED).label(names)
    assert words == ["a", "b"]
    assert codes.tolist() == [1, 0, -1, 1]


@pytest.mark.parametrize(("pattern", "message"), [("(", "no regular expression"), (r"^(.+)_\d+", "no named group")])
def test_a_bad_pattern_is_refused(pattern, message):
    with pytest.raises(UserError, match=f"data.label_pattern .*{message}"):
        LabelPattern(pattern)
