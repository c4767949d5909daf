import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.data.images.file_facts import facts_of
from expkit.data.packed import Packed


def look(folder: Path) -> dict[str, str]:
    names = sorted(os.listdir(os.fsencode(folder)))
    bad = facts_of(str(folder), Packed.from_names(names), images=True).problems
    return {os.fsdecode(names[index]): why for index, why in bad.items()}


def test_good_images_of_every_kind_pass(tmp_path, save):
    for name in ("a.jpg", "b.png", "c.gif", "d.webp", "e.bmp", "f.tif"):
        save(name)
    assert look(tmp_path) == {}


def test_what_is_wrong_is_said(tmp_path, save):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("\n<!DOCTYPE html><html><body>404</body></html>")
    (tmp_path / "text.png").write_text("hello")
    for name in ("cut.jpg", "cut.png", "cut.gif", "cut.webp", "cut.bmp"):
        data = save(name, size=(64, 64)).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "folder.jpg").mkdir()
    found = look(tmp_path)
    assert "zero bytes" in found["empty.jpg"]
    assert "web page" in found["page.jpg"]
    assert "no image" in found["text.png"]
    assert all("truncated" in found[f"cut.{kind}"] for kind in ("jpg", "png", "gif", "webp", "bmp"))
    assert "does not exist" in found["link.jpg"]
    assert "directory" in found["folder.jpg"]
    assert len(found) == 10


def test_a_jpeg_with_bytes_after_its_end_passes(tmp_path, save):
    path = save("trailer.jpg")
    path.write_bytes(path.read_bytes() + bytes(100) + b"camera notes")
    assert look(tmp_path) == {}


def test_a_cut_jpeg_filled_up_with_zeros_is_found(tmp_path, save):
    path = save("sparse.jpg", size=(64, 64))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    assert "sparse.jpg" in look(tmp_path)


def test_jpegs_with_a_hole_between_restart_markers_or_copied_as_text_are_found(tmp_path):
    whole = io.BytesIO()
    photo().save(whole, "JPEG", quality=90, restart_marker_rows=1)
    data = whole.getvalue()
    half, hole = len(data) // 2, len(data) // 4
    files = {
        "whole": data,
        "hole": data[:half] + bytes(hole) + data[half + hole :],
        "gap": data[:half] + data[-half // 2 :],
    }
    files["text"] = data.replace(b"\n", b"\r\n")
    for name, content in files.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    (tmp_path / "pointer.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    found = look(tmp_path)
    assert sorted(found) == ["gap.jpg", "hole.jpg", "pointer.jpg", "text.jpg"]
    assert "git lfs pull" in found["pointer.jpg"]
    assert "copied as text" in found["text.jpg"]


def test_a_png_that_unpacks_to_gigapixels_is_found(tmp_path, save):
    data = bytearray(save("bomb.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(data)
    assert "bomb.png" in look(tmp_path)


HEALTHY = {
    "baseline": {},
    "optimized": {"optimize": True},
    "full colour": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 2},
    "progressive": {"progressive": True},
}


def photo() -> Image.Image:
    """Noise above, plain below, as many healthy pictures are."""
    pixels = np.full((96, 128, 3), 255, np.uint8)
    pixels[:64] = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    return Image.fromarray(pixels)


def coded(kind: str, image: Image.Image) -> tuple[bytes, int]:
    """A JPEG, and where its coded pixels begin."""
    file = io.BytesIO()
    image.save(file, "JPEG", **HEALTHY[kind])
    return file.getvalue(), file.getvalue().index(b"\xff\xda") + 14


@pytest.mark.parametrize("kind", HEALTHY)
def test_healthy_jpegs_with_plain_parts_notes_or_padding_are_no_false_alarm(tmp_path, kind):
    flat, mirrored = Image.new("RGB", (70, 50), "grey"), photo().transpose(Image.Transpose.ROTATE_180)
    for name, image in (("plain", photo()), ("flat", flat), ("one", flat.resize((1, 1))), ("mirrored", mirrored)):
        data, _ = coded(kind, image)
        (tmp_path / f"{name}.jpg").write_bytes(data)
        (tmp_path / f"{name} notes.jpg").write_bytes(data + bytes(600) + b"notes of a camera")
    data, _ = coded(kind, mirrored)
    (tmp_path / "padded.jpg").write_bytes(data[:-2] + bytes(600) + data[-2:])
    assert look(tmp_path) == {}


@pytest.mark.parametrize("kind", HEALTHY)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_a_jpeg_that_was_cut_off_and_ended_is_found(tmp_path, kind, share):
    data, start = coded(kind, photo())
    stop = start + int(share * (len(data) - start))
    (tmp_path / "cut.jpg").write_bytes(data[:stop].rstrip(b"\xff") + b"\xff\xd9")
    assert "cut off" in look(tmp_path)["cut.jpg"]


@pytest.mark.parametrize("kind", ["baseline", "optimized", "full colour"])
def test_a_jpeg_with_a_hole_of_zeros_is_found(tmp_path, kind):
    data, start = coded(kind, photo().resize((256, 192)))
    hole = start + len(data) // 3
    (tmp_path / "hole.jpg").write_bytes(data[:hole] + bytes(4096) + data[hole + 4096 :])
    assert "zeros" in look(tmp_path)["hole.jpg"] or "cut off" in look(tmp_path)["hole.jpg"]


def damaged_jpegs() -> dict[str, bytes]:
    data, _ = coded("baseline", photo())
    sizes, tables = data.index(b"\xff\xc0"), data.index(b"\xff\xc4")
    return {
        "ends": b"\xff\xd8\xff\xd9",
        "no scan": data[: data.index(b"\xff\xda")] + b"\xff\xd9",
        "no size": data[: sizes + 5] + bytes(4) + data[sizes + 9 :],
        "no height": data[: sizes + 5] + bytes(2) + data[sizes + 7 :],
        "tables": data[: tables + 5] + b"\xff" * 16 + data[tables + 21 :],
        "no tables": data[: tables + 2] + bytes(2) + data[tables + 4 :],
    }


def damaged_pngs() -> dict[str, bytes]:
    file = io.BytesIO()
    photo().save(file, "PNG")
    data = file.getvalue()
    place = data.index(b"IDAT")
    length = int.from_bytes(data[place - 4 : place], "big")
    end = place + 4 + length
    half = place + 4 + length // 2

    def whole(pixels: bytes) -> bytes:
        """With pixels in a chunk whose length and checksum are right."""
        chunk = struct.pack(">I", len(pixels)) + b"IDAT" + pixels + struct.pack(">I", zlib.crc32(b"IDAT" + pixels))
        return data[: place - 4] + chunk + data[end + 4 :]

    return {
        "checksum": data[:end] + bytes(byte ^ 1 for byte in data[end : end + 4]) + data[end + 4 :],
        "header": data[:29] + bytes(4) + data[33:],
        "zeroed": data[:half] + bytes(length - length // 2) + data[end:],
        "one bit": data[:half] + bytes([data[half] ^ 16]) + data[half + 1 :],
        "cut": whole(data[place + 4 : half]),
        "no pixels": data[: place - 4] + data[end + 4 :],
        "no end": data[: end + 4],
    }


@pytest.mark.parametrize("kind", damaged_jpegs())
def test_damaged_jpegs_with_whole_ends_are_found(tmp_path, kind):
    (tmp_path / "x.jpg").write_bytes(damaged_jpegs()[kind])
    (found,) = look(tmp_path).items()
    assert found[0] == "x.jpg"
    assert "index out of range" not in found[1]


@pytest.mark.parametrize("kind", damaged_pngs())
def test_damaged_pngs_with_whole_ends_are_found(tmp_path, kind):
    (tmp_path / "x.png").write_bytes(damaged_pngs()[kind])
    assert list(look(tmp_path)) == ["x.png"]


def test_real_photos_are_no_false_alarm(pets_mini):
    assert look(pets_mini / "images") == {}


def test_many_files_are_all_looked_at(tmp_path):
    image = tmp_path / "00000.jpg"
    Image.new("RGB", (8, 8)).save(image)
    for number in range(1, 1000):
        os.link(image, tmp_path / f"{number:05d}.jpg")
    for number in (300, 999):
        (tmp_path / f"{number:05d}.jpg").unlink()
        (tmp_path / f"{number:05d}.jpg").touch()
    assert list(look(tmp_path)) == ["00300.jpg", "00999.jpg"]


def test_a_name_that_is_no_utf8_is_read(tmp_path, save):
    os.rename(os.fsencode(save("x.jpg")), os.fsencode(tmp_path) + b"/\xff.jpg")
    assert look(tmp_path) == {}
