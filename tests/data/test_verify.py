import os
from pathlib import Path

import pytest
from PIL import Image

from expkit.data.packed import Packed
from expkit.data.verify import facts_of, find_bad, problem_of


def look(folder: Path) -> dict[str, str]:
    names = sorted(os.listdir(os.fsencode(folder)))
    packed = Packed.from_names(names)
    bad = find_bad(str(folder), packed, facts_of(str(folder), packed))
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


def test_a_png_that_unpacks_to_gigapixels_is_found(tmp_path, save):
    data = bytearray(save("bomb.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(data)
    assert "bomb.png" in look(tmp_path)


def test_verified_files_are_remembered_until_they_change(tmp_path, save):
    path = save("a/x.jpg").parent
    assert look(path) == {}
    before = os.stat(path / "x.jpg")
    (path / "x.jpg").write_bytes(bytes(before.st_size))
    os.utime(path / "x.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(path) == {}, "same size and time, so the file is not opened again"
    os.utime(path / "x.jpg")
    assert list(look(path)) == ["x.jpg"]


def test_files_once_found_bad_are_looked_at_again(tmp_path, save):
    path = save("a/x.jpg").parent
    good = (path / "x.jpg").read_bytes()
    (path / "x.jpg").write_bytes(bytes(len(good)))
    os.utime(path / "x.jpg", (1, 1))
    assert list(look(path)) == ["x.jpg"]
    (path / "x.jpg").write_bytes(good)
    os.utime(path / "x.jpg", (1, 1))
    assert look(path) == {}


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', '["a"]'])
def test_a_damaged_memory_is_no_harm(tmp_path, save, content):
    path = save("a/x.jpg").parent
    assert look(path) == {}
    markers = list(Path(os.environ["EXPKIT_CACHE"]).glob("verified/*.json"))
    assert len(markers) == 1
    markers[0].write_text(content)
    assert look(path) == {}


def test_a_cache_that_cannot_be_written_is_no_harm(tmp_path, save, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(save("file.jpg")))
    assert look(tmp_path) == {}


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
    assert problem_of(os.fsencode(tmp_path) + b"/\xff.jpg") is None
