import numpy as np
import pytest

from expkit.data.pixels import to_uint8
from expkit.errors import UserError


def test_uint8_is_not_copied():
    images = np.zeros((4, 6, 8, 3), np.uint8)
    assert np.shares_memory(to_uint8(images, "HWC", 255, "x"), images)
    planes = np.zeros((4, 3, 6, 8), np.uint8)
    assert to_uint8(planes, "CHW", 255, "x").shape == (4, 6, 8, 3)
    assert np.shares_memory(to_uint8(planes, "CHW", 255, "x"), planes)


@pytest.mark.parametrize(("layout", "shape"), [("HW", (4, 6, 8)), ("HWC", (4, 6, 8, 1)), ("CHW", (4, 1, 6, 8))])
def test_grey_has_no_channels(layout, shape):
    images = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(shape)
    assert to_uint8(images, layout, 255, "x").tolist() == images.reshape(4, 6, 8).tolist()


def test_layouts_agree():
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), np.uint8)
    assert (to_uint8(images, "HWC", 255, "x") == to_uint8(np.moveaxis(images, 3, 1), "CHW", 255, "x")).all()


@pytest.mark.parametrize(
    ("values", "dtype", "white", "expected"),
    [
        ([0, 0.5, 1], np.float32, 1.0, [0, 128, 255]),
        ([0, 8, 16], np.float64, 16.0, [0, 128, 255]),
        ([0, 8, 16], np.uint8, 16.0, [0, 128, 255]),
        ([0, 257, 65535], np.uint16, 65535.0, [0, 1, 255]),
        ([0, 100, 255], np.int64, 255.0, [0, 100, 255]),
        ([0, 100.4, 255], np.float16, 255.0, [0, 100, 255]),
        ([False, True, True], bool, 1.0, [0, 255, 255]),
    ],
)
def test_white_becomes_255(values, dtype, white, expected):
    images = np.array(values, dtype).reshape(1, 1, 3)
    assert to_uint8(images, "HW", white, "x")[0, 0].tolist() == expected


def test_a_large_array_is_converted_in_blocks():
    images = np.random.default_rng(0).random((70, 500, 500), np.float32)
    assert (to_uint8(images, "HW", 1.0, "x") == np.rint(images * 255).astype(np.uint8)).all()


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((4, 64), "HW"), ((4, 8, 8), "HWC"), ((4, 8, 8, 3), "CHW"), ((4, 3, 8, 8), "HWC"), ((4, 8, 8, 3), "HW"),
     ((4, 8, 8, 4), "HWC"), ((0, 8, 8), "HW"), ((), "HW")],
)  # fmt: skip
def test_another_shape_is_named_with_what_was_expected(shape, layout):
    expected = " x ".join(map(str, shape)) or "single number"
    with pytest.raises(UserError, match=f"data.images has shape .*{expected}, expected N x .*data.layout={layout}"):
        to_uint8(np.zeros(shape, np.uint8), layout, 255, "data.images")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1.5])
def test_values_that_are_no_pixels_are_named_with_their_row(value):
    images = np.zeros((5, 2, 2), np.float32)
    images[3, 1, 0] = value
    with pytest.raises(UserError, match=r"data\.images has the value .* in row 3, expected 0 to 1 .*data\.white"):
        to_uint8(images, "HW", 1.0, "data.images")


def test_floats_up_to_one_with_white_255_would_all_be_black():
    with pytest.raises(UserError, match=r"all is black.*data\.white=1\.0"):
        to_uint8(np.full((2, 2, 2), 0.7, np.float32), "HW", 255, "x")


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(UserError, match="<U1 values, expected numbers"):
        to_uint8(np.full((2, 2, 2), "a"), "HW", 255, "x")
