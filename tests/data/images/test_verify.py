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


@pytest.mark.parametrize("kind", HEALTHY)
@pytest.mark.parametrize("lost", [100, 700])
@pytest.mark.parametrize("header", ["plain", "of a camera"])
def test_a_jpeg_that_lacks_its_last_bytes_is_found(tmp_path, pets_mini, kind, lost, header):
    with Image.open(sorted((pets_mini / "images").glob("*.jpg"))[0]) as real:
        image = real.convert("RGB")
    if header == "of a camera":
        image.getexif()[0x0112] = 1
    file = io.BytesIO()
    image.save(file, "JPEG", **HEALTHY[kind], **({"exif": image.getexif()} if header == "of a camera" else {}))
    data = file.getvalue()
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[: -2 - lost].rstrip(b"\xff") + data[-2:])
    found = look(tmp_path)
    assert list(found) == ["cut.jpg"]
    assert "cut off" in found["cut.jpg"]


def test_a_photo_whose_last_pass_ends_early_is_found_wherever_it_ends(tmp_path, pets_mini):
    for number, path in enumerate(sorted((pets_mini / "images").glob("*.jpg"))[:12]):
        file = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").save(file, "JPEG", progressive=True, quality=80)
        data = file.getvalue()
        stop = data.rindex(b"\xff\xda") + 200 + 37 * number
        (tmp_path / f"{number}.jpg").write_bytes(data[:stop].rstrip(b"\xff") + data[-2:])
        (tmp_path / f"whole {number}.jpg").write_bytes(data)
    found = look(tmp_path)
    assert sorted(found) == sorted(f"{number}.jpg" for number in range(12))
    assert all("passes are missing" in why for why in found.values())


def png(mode: str, *, rows: int | None = None, notes: bytes = b"", interlaced: bool = False) -> bytes:
    """A photo as a PNG with right checksums and the first `rows` of its rows (None: all)."""
    image = photo().convert("RGB").convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    with Image.open(file) as whole:
        assert whole.size == image.size
    data, pixels, chunks, place = file.getvalue(), b"", [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        pixels += content if kind == b"IDAT" else b""
        chunks += [] if kind == b"IDAT" else [(kind, content)]
        place += 12 + length
    raw = zlib.decompress(pixels)
    stride = len(raw) // image.height
    if interlaced:
        chunks[0] = b"IHDR", chunks[0][1][:12] + b"\1"
        raw = in_passes(np.asarray(image))
    pixels = zlib.compress(raw if rows is None else raw[: rows * stride])
    chunks[-1:-1] = [(b"iTXt", notes)] if notes else []
    chunks[-1:-1] = [(b"IDAT", pixels[start : start + 5000]) for start in range(0, len(pixels), 5000)]
    return data[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def in_passes(pixels: np.ndarray) -> bytes:
    """The rows of an image in the order of Adam7, none of them filtered."""
    parts = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    return b"".join(b"\0" + row.tobytes() for a, b, c, d in parts for row in np.ascontiguousarray(pixels[a::b, c::d]))


NOTE = b"Comment\0\0\0\0\0of a kind that is left to Pillow"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("notes", [b"", NOTE], ids=["plain", "notes"])
def test_a_png_with_too_few_rows_is_found_though_its_checksums_are_right(tmp_path, mode, notes):
    (tmp_path / "whole.png").write_bytes(png(mode, notes=notes))
    for rows in (0, 1, 50, 95):
        (tmp_path / f"{rows:02d}.png").write_bytes(png(mode, rows=rows, notes=notes))
    found = look(tmp_path)
    assert list(found) == ["00.png", "01.png", "50.png", "95.png"]
    assert "fewer rows" in found["50.png"]


def test_an_interlaced_png_is_whole_with_all_its_passes(tmp_path):
    (tmp_path / "whole.png").write_bytes(png("RGB", interlaced=True))
    for rows in (10, 90):
        (tmp_path / f"{rows}.png").write_bytes(png("RGB", rows=rows, interlaced=True))
    with Image.open(tmp_path / "whole.png") as image:
        assert image.info.get("interlace")
        assert (np.asarray(image) == np.asarray(photo())).all()
    assert sorted(look(tmp_path)) == ["10.png", "90.png"]


def test_a_png_with_a_filter_that_there_is_not_is_found(tmp_path):
    data = png("L")
    place, raw = data.index(b"IDAT"), bytearray(b"\0" * (96 * 129))
    raw[129 * 40] = 9
    pixels = zlib.compress(bytes(raw))
    chunk = struct.pack(">I", len(pixels)) + b"IDAT" + pixels + struct.pack(">I", zlib.crc32(b"IDAT" + pixels))
    (tmp_path / "x.png").write_bytes(data[: place - 4] + chunk + data[data.index(b"IEND") - 4 :])
    assert list(look(tmp_path)) == ["x.png"]


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
