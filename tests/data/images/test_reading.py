"""Each kind of pixels comes out as the same picture, or is refused in a sentence."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from pillow_heif import from_pillow

from expkit.data.images.decode import decode, reason_of
from expkit.data.images.reading import Reading

DOWN, ACROSS = np.mgrid[0:48, 0:64]
RGB = np.stack([ACROSS * 4, DOWN * 5, ACROSS + DOWN], -1).astype(np.uint8)
GREY = RGB[..., 0]
FULL = np.full((48, 64, 1), 255, np.uint8)


def tiff(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file


def png(values):
    return io.BytesIO(imagecodecs.png_encode(np.ascontiguousarray(values)))


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file


def bits(values, white):
    return np.rint(values.astype(np.float64) * (white / 255)).astype(np.uint16)


def shown(file, **reading):
    file.seek(0)
    return np.asarray(decode(file, None, Reading(**reading))).astype(int)


def refusal(file, **reading):
    with pytest.raises(Exception) as error:  # noqa: PT011
        shown(file, **reading)
    return reason_of(error.value)


def off_by(file, expected, **reading):
    expected = expected if expected.ndim == 3 else expected[..., None]
    return np.abs(shown(file, **reading) - expected).max()


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("white", [255, 65535])
def test_every_layout_of_an_rgb_tiff_is_the_same_picture(compression, tile, planar, white):
    values = RGB if white == 255 else bits(RGB, white)
    values = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if planar == "separate" else values
    file = tiff(values, photometric="rgb", planarconfig=planar, compression=compression, tile=tile)
    assert off_by(file, RGB) == 0


def test_a_tiff_whose_white_is_0_is_no_negative():
    assert off_by(tiff(255 - GREY, photometric="miniswhite"), GREY) == 0
    assert off_by(tiff(bits(255 - GREY, 65535), photometric="miniswhite"), GREY) == 0


@pytest.mark.parametrize("name", ["grey", "rgb", "rgba", "grey with alpha"])
def test_12_bits_in_files_of_16_are_dark_unless_white_is_said(name):
    bands = {"grey": GREY[..., None], "rgb": RGB, "rgba": np.concatenate([RGB, FULL], -1)}
    values = bands.get(name, np.stack([GREY, FULL[..., 0]], -1))
    expected = values[..., : 1 if values.shape[2] < 3 else 3]
    deep = bits(values, 4095)
    if values.shape[2] % 2 == 0:
        deep[..., -1] = 65535
    file = png(deep[..., 0] if name == "grey" else deep)
    assert off_by(file, expected, white=4095) == 0
    assert shown(file).max() <= 16
    if values.shape[2] == 3:
        assert off_by(tiff(deep, photometric="rgb"), expected, white=4095) == 0


def test_white_leaves_files_of_8_bits_alone_unless_they_are_darker():
    assert off_by(saved(Image.fromarray(RGB), "PNG"), RGB, white=4095) == 0
    mask = (GREY > 90).astype(np.uint8)
    assert off_by(saved(Image.fromarray(mask), "PNG"), mask * 255, white=1) == 0
    assert "has the value 252, expected 0 to 15" in refusal(saved(Image.fromarray(GREY), "PNG"), white=15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint32, np.int32])
def test_numbers_without_a_white_of_their_own_need_one(dtype):
    file = tiff(GREY.astype(dtype))
    assert "no stated white; say it with data.white" in refusal(file)
    assert off_by(file, GREY, white=255) == 0
    assert "has the value" in refusal(file, white=100)


def test_a_pixmap_says_what_is_white_itself():
    file = io.BytesIO(b"P5 64 48 4095\n" + bits(GREY, 4095).astype(">u2").tobytes())
    assert off_by(file, GREY) == 0
    assert off_by(file, GREY, white=4095) == 0


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("white", [255, 65535])
def test_near_infrared_tagged_as_alpha_is_refused_and_can_be_left_out(extra, white):
    values = np.concatenate([RGB, RGB[..., :1]], -1)
    file = tiff(values if white == 255 else bits(values, white), photometric="rgb", extrasamples=[extra])
    assert "data.alpha=ignore" in refusal(file)
    assert off_by(file, RGB, alpha="ignore") == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_what_lies_behind_transparent_pixels_can_be_chosen(kind):
    image = Image.fromarray(RGB)
    image.putalpha(Image.fromarray(np.where(ACROSS < 32, 0, 255).astype(np.uint8)))
    file = saved(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert (shown(file)[:, :32] == 255).all()
    assert (shown(file, alpha="black")[:, :32] == 0).all()
    assert off_by(file, RGB, alpha="ignore") == 0


def test_a_palette_and_grey_with_alpha_obey_the_choice():
    palette = Image.fromarray(np.where(ACROSS < 32, 0, 1).astype(np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    for file in (saved(palette, "PNG", transparency=0), saved(palette, "GIF", transparency=0)):
        assert shown(file)[0, 0].tolist() == [255, 255, 255]
        assert shown(file, alpha="ignore")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("bands", [2, 5, 13])
def test_bands_that_are_no_picture_are_counted(bands):
    file = tiff(np.repeat(GREY[..., None], bands, -1), photometric="minisblack", planarconfig="contig")
    assert f"has {bands} bands" in refusal(file)


def test_photos_of_phones_and_other_suffixes_are_read():
    heic = io.BytesIO()
    from_pillow(Image.fromarray(RGB)).save(heic, quality=95)
    assert off_by(heic, RGB) < 12
    assert off_by(saved(Image.fromarray(RGB), "TGA"), RGB) == 0
    mpo = saved(Image.fromarray(RGB), "MPO", save_all=True, append_images=[Image.fromarray(255 - RGB)], quality=95)
    assert off_by(mpo, RGB) < 12


def test_a_heic_without_the_extra_names_it(monkeypatch):
    heic = io.BytesIO()
    from_pillow(Image.fromarray(RGB)).save(heic)
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    assert "pip install 'expkit[formats]'" in refusal(heic)


def test_colours_of_print_and_of_lab_become_rgb():
    from PIL import ImageCms

    image = Image.fromarray(RGB)
    assert off_by(saved(image.convert("CMYK"), "TIFF"), RGB) == 0
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(shown(saved(lab, "TIFF")) - RGB).mean() < 5


def test_a_jpeg_of_more_pixels_than_memory_should_hold_is_decoded_smaller(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    file = saved(Image.fromarray(RGB), "JPEG")
    assert decode(file, 12).size == (16, 12)
    with pytest.raises(Image.DecompressionBombError, match="64 x 48"):
        decode(file)


def test_image_libraries_log_nothing_on_the_screen(monkeypatch, capsys):
    import logging

    from expkit.__main__ import hush_readers

    screen = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger("PIL"), "propagate", True)
    hush_readers()
    logging.getLogger().addHandler(screen)
    file = tiff(np.zeros((8, 8, 13), np.uint8), photometric="minisblack", planarconfig="contig")
    assert "13 bands" in refusal(file)
    logging.getLogger().removeHandler(screen)
    assert "samples" not in capsys.readouterr().err
