import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.data.images.decode import read_image
from expkit.errors import UserError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def pixels(path: Path, size: int | None = None) -> np.ndarray:
    image = read_image(path, size)
    assert image.mode == "RGB"
    return np.asarray(image)


def quarters() -> Image.Image:
    """Red, green above; blue, white below: any turn or mirroring shows."""
    image = Image.new("RGB", (64, 48), RED)
    image.paste(GREEN, (32, 0, 64, 24))
    image.paste(BLUE, (0, 24, 32, 48))
    image.paste(WHITE, (32, 24, 64, 48))
    return image


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    height, width = image.shape[:2]
    places = [(height // 4, width // 4), (height // 4, 3 * width // 4), (3 * height // 4, width // 4)]
    return [tuple(round(value / 255) * 255 for value in image[place]) for place in places]


STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_undone(tmp_path, orientation, suffix):
    stored = quarters() if STORED_AS[orientation] is None else quarters().transpose(STORED_AS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"x.{suffix}", exif=exif)
    image = pixels(tmp_path / f"x.{suffix}")
    assert image.shape == (48, 64, 3)
    assert corners(image) == [RED, GREEN, BLUE]


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_a_damaged_exif_block_spoils_no_picture(tmp_path, exif):
    quarters().save(tmp_path / "x.jpg", exif=exif)
    assert corners(pixels(tmp_path / "x.jpg")) == [RED, GREEN, BLUE]


def test_a_turned_palette_image_keeps_its_transparency(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = quarters().transpose(Image.Transpose.ROTATE_180).quantize(4)
    turned.save(tmp_path / "x.png", exif=exif, transparency=turned.getpixel((60, 40)))
    assert corners(pixels(tmp_path / "x.png")) == [WHITE, GREEN, BLUE]


def test_grey_is_repeated(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(grey).save(tmp_path / "x.png")
    assert (pixels(tmp_path / "x.png") == grey[..., None]).all()


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, name):
    grey = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / name)
    assert pixels(tmp_path / name)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_big_endian_16_bit_tiff_is_scaled(tmp_path):
    Image.frombytes("I;16B", (2, 1), bytes([0x80, 0x80, 0xFF, 0xFF])).save(tmp_path / "x.tif")
    assert pixels(tmp_path / "x.tif")[0, :, 0].tolist() == [128, 255]


def test_transparent_pixels_become_white(tmp_path):
    Image.fromarray(np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)).save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png")[0].tolist() == [[255, 0, 0], [255, 255, 255], [204, 204, 204]]


def test_grey_with_alpha_is_put_on_white(tmp_path):
    Image.fromarray(np.array([[[0, 255], [0, 0], [100, 255]]], np.uint8), "LA").save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png")[0, :, 0].tolist() == [0, 255, 100]


def test_palette_with_transparency_is_put_on_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "x.png", transparency=1)
    assert pixels(tmp_path / "x.png")[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_palette_without_transparency_keeps_its_colours(tmp_path):
    quarters().quantize(4).save(tmp_path / "x.png")
    assert corners(pixels(tmp_path / "x.png")) == [RED, GREEN, BLUE]


def test_rgb_with_a_transparent_colour_is_put_on_white(tmp_path):
    quarters().save(tmp_path / "x.png", transparency=RED)
    assert corners(pixels(tmp_path / "x.png")) == [WHITE, GREEN, BLUE]


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_cmyk_becomes_rgb(tmp_path, name):
    quarters().convert("CMYK").save(tmp_path / name)
    assert corners(pixels(tmp_path / name)) == [RED, GREEN, BLUE]


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png")[0].tolist() == [[255, 255, 255], [0, 0, 0]]


def test_a_gif_named_jpg_gives_its_first_frame(tmp_path):
    first = quarters()
    first.save(tmp_path / "x.jpg", format="GIF", save_all=True, append_images=[Image.new("RGB", first.size, BLUE)])
    assert corners(pixels(tmp_path / "x.jpg")) == [RED, GREEN, BLUE]


@pytest.mark.parametrize("name", ["x.webp", "x.bmp", "x.ppm", "x.jp2", "x.avif", "x.gif", "x.tif"])
def test_other_formats_are_read(tmp_path, name):
    quarters().save(tmp_path / name)
    assert corners(pixels(tmp_path / name)) == [RED, GREEN, BLUE]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("width", "height", "size"), [(800, 600, 100), (801, 450, 224), (223, 4000, 224), (450, 449, 224)]
)
def test_a_jpeg_is_decoded_smaller_but_never_below_the_size(tmp_path, width, height, size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height), GREEN).save(tmp_path / "x.jpg", exif=exif)
    read = read_image(tmp_path / "x.jpg", size)
    assert min(read.size) >= min(size, width, height)
    if min(width, height) >= 2 * size:
        assert min(read.size) <= min(width, height) // 2 + 1


def test_reduced_decoding_shows_the_same_picture(tmp_path):
    quarters().resize((640, 480)).save(tmp_path / "x.jpg", quality=95)
    small = pixels(tmp_path / "x.jpg", 60)
    assert small.shape == (60, 80, 3)
    assert corners(small) == [RED, GREEN, BLUE]


def test_without_a_size_a_jpeg_keeps_its_pixels(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "x.jpg")
    assert read_image(tmp_path / "x.jpg").size == (640, 480)


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "cut.jpg"
    quarters().save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"cut\.jpg.*truncated"):
        read_image(path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "note.png"
    path.write_text("hello")
    with pytest.raises(UserError, match=r"note\.png.*no image"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png.*No such file"):
        read_image(tmp_path / "gone.png")


def test_postscript_is_never_run(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(UserError, match="no image that can be read"):
        read_image(path)


def test_float_pixels_are_refused_because_white_is_unknown(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x\.tif.*float pixels"):
        read_image(tmp_path / "x.tif")


def test_more_pixels_than_the_limit_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    quarters().save(tmp_path / "x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for width, height in ((40, 30), (64, 48)):
            quarters().resize((width, height)).save(tmp_path / "x.png")
            with pytest.raises(UserError, match=r"x\.png.*pixels"):
                read_image(tmp_path / "x.png")
