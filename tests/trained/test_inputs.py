"""What the served model is given is read rightly, or refused: never taken for something else in silence."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from expkit.data.images.reading import DEFAULT, Reading
from expkit.errors import DataError
from expkit.trained.inputs import images_of, read_input

RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
RGB[0, 0] = 0, 128, 255


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def read(image, reading=DEFAULT):
    return np.asarray(read_input(image, 1, None, reading))


@pytest.mark.parametrize(
    "image",
    [
        RGB,
        RGB.tolist(),
        RGB.astype(np.int64),
        RGB.astype(np.uint16) * 257,
        png(Image.fromarray(RGB)),
        bytearray(png(Image.fromarray(RGB))),
        base64.b64encode(png(Image.fromarray(RGB))).decode(),
        "data:image/png;base64," + base64.b64encode(png(Image.fromarray(RGB))).decode(),
        Image.fromarray(RGB),
        np.concatenate([RGB, np.full((24, 32, 1), 255, np.uint8)], -1),
    ],
    ids=["array", "list", "int64", "uint16", "file", "bytearray", "base64", "data url", "pillow", "alpha"],
)
def test_an_image_is_the_same_however_it_is_given(image):
    assert (read(image) == RGB).all()


@pytest.mark.parametrize("grey", [RGB[..., 0], RGB[..., :1]])
def test_grey_arrays_are_repeated(grey):
    assert (read(grey) == RGB[..., :1]).all()


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (RGB / 255, "float values with no stated white"),
        (RGB.astype(np.float32), "float values"),
        ((RGB / 255).tolist(), "float values"),
        ((RGB > 90).astype(np.uint8), "no value above 1 where white is 255"),
        (RGB.astype(np.uint16), "give those of 8 bits as uint8"),
        (RGB.astype(np.int64) * 257, "give uint8"),
        (RGB.astype(np.int64) - 300, "has the value -300"),
        (RGB[None], "has the shape 1 x 24 x 32 x 3"),
        (RGB[0], "has the shape 32 x 3"),
        (RGB[0, 0], "has the shape 3"),
        (np.zeros((24, 32, 5), np.uint8), "24 x 32 x 5"),
        ("cat.jpg", "neither the path of a file here nor base64"),
        (b"hello", "no image that can be read"),
        (None, "expected the bytes of an image file"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(image, why):
    with pytest.raises(DataError, match=f"image 1 of the request .*{why}"):
        read(image)


def test_bands_may_come_first_and_paths_are_read(tmp_path):
    assert (read(RGB.transpose(2, 0, 1)) == RGB).all()
    (tmp_path / "a.png").write_bytes(png(Image.fromarray(RGB)))
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert (read(path) == RGB).all()
    with pytest.raises(DataError, match="image 1 of the request cannot be opened"):
        read(tmp_path / "b.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_that_pillow_has_opened_is_read_as_its_file(kind):
    file = io.BytesIO()
    picture = Image.fromarray(RGB).resize((640, 480))
    (picture if kind == "JPEG" else Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 16)).save(file, kind)
    reading = Reading(white=4095)
    expected = np.asarray(read_input(file.getvalue(), 1, 64, reading))
    assert (np.asarray(read_input(Image.open(file), 1, 64, reading)) == expected).all()


def test_arrays_are_read_as_those_of_training():
    share = RGB / np.float32(255)
    assert np.abs(read(share, Reading(arrays=1.0)).astype(int) - RGB).max() == 0
    assert np.abs(read(share * 16, Reading(arrays=16.0)).astype(int) - RGB).max() == 0
    assert (read(RGB, Reading(arrays=16.0)) == RGB).all()
    with pytest.raises(DataError, match="white may be 255 or, as in training, 16"):
        read(RGB // 16, Reading(arrays=16.0))
    with pytest.raises(DataError, match="no value above"):
        read(share, Reading(arrays=255.0))


def test_the_keys_of_training_hold_for_files_and_arrays():
    deep = RGB.astype(np.uint16) * 16
    assert np.abs(read(deep, Reading(white=4080)).astype(int) - RGB).max() == 0
    clear = np.concatenate([RGB, np.zeros((24, 32, 1), np.uint8)], -1)
    for image in (clear, png(Image.fromarray(clear))):
        assert (read(image) == 255).all()
        assert (read(image, Reading(alpha="black")) == 0).all()
        assert (read(image, Reading(alpha="ignore")) == RGB).all()


def test_the_images_of_a_request_are_found():
    assert len(images_of([RGB, RGB])) == len(images_of(np.stack([RGB, RGB]))) == 2
    assert images_of([]) == []
    assert images_of(b"file") == [b"file"]
    assert len(images_of(pd.DataFrame({"id": [7], "image": [RGB]}))[0]) == 24
    with pytest.raises(DataError, match=r"is no batch .*\[image\]"):
        images_of(RGB)
    with pytest.raises(DataError, match="the columns id, x"):
        images_of(pd.DataFrame({"id": [7], "x": [RGB]}))
