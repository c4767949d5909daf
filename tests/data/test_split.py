import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit.data.split import NothingToCut, Split, cut_valid, stratified


@given(st.lists(st.integers(0, 5)), st.floats(0.01, 0.99), st.integers(0, 100))
def test_every_class_keeps_its_share(labels, valid_pct, seed):
    labels = np.array(labels, np.int64)
    chosen = stratified(labels, valid_pct, seed)
    for label in np.unique(labels):
        count, held_out = (labels == label).sum(), chosen[labels == label].sum()
        if count == 1:
            assert held_out == 0
        else:
            assert 1 <= held_out < count
            assert abs(held_out - count * valid_pct) <= 1


def test_the_seed_decides():
    labels = np.repeat([0, 1], 50)
    assert (stratified(labels, 0.2, 0) == stratified(labels, 0.2, 0)).all()
    assert (stratified(labels, 0.2, 0) != stratified(labels, 0.2, 1)).any()


def test_images_added_to_one_class_do_not_move_those_of_another():
    before = stratified(np.repeat([0, 1], [30, 50]), 0.2, 0)[30:]
    after = stratified(np.repeat([0, 1], [40, 50]), 0.2, 0)[40:]
    assert (before == after).all()


def test_valid_images_that_are_given_stay_the_only_ones():
    splits = np.array([Split.TRAIN, Split.TRAIN, Split.VALID], np.int8)
    assert (cut_valid(splits, np.zeros(3, np.int64), 0.5, 0) == splits).all()


def test_test_images_are_never_cut():
    splits = np.array([Split.TRAIN] * 4 + [Split.TEST] * 4, np.int8)
    cut = cut_valid(splits, np.zeros(8, np.int64), 0.5, 0)
    assert (cut[:4] == Split.VALID).sum() == 2
    assert (cut[4:] == Split.TEST).all()


def test_nothing_to_cut_is_an_error():
    with pytest.raises(NothingToCut, match=r"no class has two images.*valid_pct"):
        cut_valid(np.zeros(3, np.int8), np.arange(3), 0.5, 0)
