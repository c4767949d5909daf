import numpy as np
import pytest

from expkit.data.images.pixels import to_uint8
from expkit.errors import UserError


def test_uint8_is_not_copied():
    images = np.full((4, 6, 8, 3), 200, np.uint8)
    assert np.shares_memory(to_uint8(images, "HWC", 255, "x"), images)
    planes = np.full((4, 3, 6, 8), 200, np.uint8)
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
    with pytest.raises(UserError, match=r"all is black.*data\.white=1$"):
        to_uint8(np.full((2, 2, 2), 0.7, np.float32), "HW", 255, "x")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.uint16, np.float32])
@pytest.mark.parametrize("white", [255, 65535])
def test_ones_as_white_would_be_black_in_every_type(dtype, white):
    with pytest.raises(UserError, match=r"no value above 1 where white is \d+, so all is black.*data\.white=1$"):
        to_uint8(np.eye(4, dtype=dtype)[None], "HW", white, "x")


@pytest.mark.parametrize(
    ("peak", "dtype", "white", "meant"),
    [(16, np.uint8, 255, 16), (255, np.uint16, 65535, 255), (4095, np.uint16, 65535, 4095), (40, np.uint8, 255, 40),
     (1000, np.uint16, 65535, 1023), (255, np.int32, 4095, 255), (0.2, np.float32, 1, 0.2),
     (16.0, np.float64, 255, 16)],
)  # fmt: skip
def test_a_range_that_is_dark_is_told_with_the_white_that_it_may_have(peak, dtype, white, meant, caplog):
    images = np.linspace(0, peak, 16).reshape(1, 4, 4).astype(dtype)
    to_uint8(images, "HW", white, "data.images")
    assert f"data.images holds no value above {peak:g} where white is {white}" in caplog.text
    assert caplog.text.rstrip().endswith(f"if {meant:g} is white set data.white={meant:g}")


@pytest.mark.parametrize(
    ("peak", "dtype", "white"),
    [(255, np.uint8, 255), (64, np.uint8, 255), (255, np.uint16, 255), (16, np.float64, 16), (1, bool, 1),
     (60000, np.uint16, 65535), (0.9, np.float32, 1)],
)  # fmt: skip
def test_a_range_that_is_right_is_no_news(peak, dtype, white, caplog):
    to_uint8(np.full((2, 3, 3), peak, dtype), "HW", white, "x")
    assert not caplog.records


def test_the_white_of_larger_values_is_suggested():
    images = np.full((3, 2, 2), 300, np.uint16)
    images[2, 1, 1] = 4000
    with pytest.raises(UserError, match=r"value 300 in row 0, .* the largest is 4000; .* set data\.white=4095$"):
        to_uint8(images, "HW", 255, "x")
    with pytest.raises(UserError, match="clip them to 1"):
        to_uint8(np.full((3, 2, 2), 1.001), "HW", 1, "x")
    with pytest.raises(UserError, match="look normalized"):
        to_uint8(np.full((3, 2, 2), -0.5), "HW", 1, "x")


def test_the_layout_that_fits_is_suggested():
    with pytest.raises(UserError, match=r"set data\.layout=CHW$"):
        to_uint8(np.zeros((4, 3, 8, 8), np.uint8), "HWC", 255, "x")
    with pytest.raises(UserError, match=r"set data\.layout=HW$"):
        to_uint8(np.zeros((4, 8, 8), np.uint8), "HWC", 255, "x")


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(UserError, match="<U1 values, expected numbers"):
        to_uint8(np.full((2, 2, 2), "a"), "HW", 255, "x")
