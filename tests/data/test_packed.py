import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from expkit.data.packed import BLOCK, Packed, shown

NAMES = st.lists(st.binary(max_size=20).map(lambda name: name.replace(b"\0", b"")))


@given(NAMES)
def test_names_come_back(names):
    packed = Packed.from_names(names)
    assert len(packed) == len(names)
    assert [packed[index] for index in range(len(names))] == names
    assert list(packed) == names


def test_names_come_back_over_block_ends():
    names = [str(number).encode() for number in range(BLOCK + 10)]
    assert list(Packed.from_names(names)) == names


def test_some_are_taken_in_the_order_asked_for():
    packed = Packed.from_names([b"a", b"bb", b"", b"dd"]).take(np.array([3, 0, 2]))
    assert list(packed) == [b"dd", b"a", b""]


def test_a_name_that_is_no_utf8_can_be_printed():
    assert shown(b"caf\xe9.jpg") == "caf\\xe9.jpg"
    assert shown("café.jpg".encode()) == "café.jpg"
