import numpy as np
import pytest

from expkit.data import ArrayImages
from expkit.errors import UserError
from expkit.trained.matching import chosen, numbers_of


def images(labels):
    base = np.arange(len(labels), dtype=np.uint8).repeat(4).reshape(-1, 2, 2)
    return ArrayImages(base, np.array(labels), np.arange(len(labels)))


def test_classes_are_matched_by_name_whatever_their_order():
    assert numbers_of(["bee", "ant"], ["ant", "bee"], "all").tolist() == [1, 0]
    found = chosen([images([0, 1, 1])], np.array([1, 0]))
    assert found.labels.tolist() == [1, 0, 0]
    assert found.name(2) == "row 2"
    assert np.asarray(found.read(2)).max() == 2


def test_what_only_one_has_is_named():
    with pytest.raises(UserError, match=r"(?s)task\.classes=common.*1 that the model does not know:\n  Bee\b"):
        numbers_of(["ant", "Bee"], ["ant", "bee"], "all")
    with pytest.raises(UserError, match=r"(?s)of the model that the data lacks:\n  bee"):
        numbers_of(["ant"], ["ant", "bee"], "all")
    with pytest.raises(UserError, match="no class in common"):
        numbers_of(["cat"], ["ant", "bee"], "common")


def test_of_classes_in_common_images_are_taken_alone_and_unlabelled_ones_left_out():
    numbers = numbers_of(["bee", "cat", "ant"], ["ant", "bee", "dog"], "common")
    assert numbers.tolist() == [1, -1, 0]
    found = chosen([images([0, 1, 2, -1]), images([2])], numbers)
    assert found.labels.tolist() == [1, 0, 0]
    assert [found.name(index) for index in range(3)] == ["row 0", "row 2", "row 0"]


def test_images_that_are_wanted_as_they_are_stay_the_same_object():
    whole = images([0, 1])
    assert chosen([whole], np.arange(2)) is whole
