"""What lies among the images and is not read."""

import pytest
from PIL import Image

from expkit.data import folders
from expkit.errors import UserError


@pytest.fixture
def root(tmp_path, save):
    """Four images each of cat and dog."""
    for word in ("cat", "dog"):
        for number in range(4):
            save(f"{word}/{number}.JPG")
    return tmp_path


def fill(folder, count, suffix, content=b"x"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"other{number}{suffix}").write_bytes(content)


def test_images_of_a_kind_that_is_not_read_are_counted_by_suffix_and_class(root, caplog):
    fill(root / "dog", 6, ".DCM")
    assert len(folders(root=str(root)).classes) == 2
    assert "6 of 14 images" in caplog.text
    assert "6 .dcm (DICOM)" in caplog.text
    assert "dog/ loses 6 of 10" in caplog.text
    assert "cat/" not in caplog.text


def test_an_equal_loss_is_counted_alone(root, caplog):
    for word in ("cat", "dog"):
        fill(root / word, 2, ".dcm")
    folders(root=str(root))
    assert "4 of 12 images" in caplog.text
    assert "loses" not in caplog.text


@pytest.mark.parametrize("suffix", ["", ".jpg_large", ".image"])
def test_images_without_their_suffix_are_known_by_content(root, caplog, suffix):
    fill(root / "dog", 3, suffix, b"\xff\xd8\xff\xe0")
    folders(root=str(root))
    assert f"3 {suffix or 'without suffix'} (JPEG by content)" in caplog.text


def test_other_files_are_told_in_a_note_and_those_of_systems_not(root, caplog):
    fill(root / "dog", 3, ".txt")
    fill(root, 1, ".zip")
    for name in ("Thumbs.db", ".DS_Store", "cat/desktop.ini"):
        (root / name).touch()
    notes = folders(root=str(root)).notes
    assert notes[0] == "left out: 4 files that are no images by suffix (3 .txt, 1 .zip)"
    assert notes[1] == "archives are not looked into; unpack what is to be read"
    assert len(notes) == 3
    assert not caplog.text


def test_folders_that_programs_leave_are_never_classes(root, save):
    for place in ("@eaDir/cat", "cat/@eaDir/x.jpg", ".ipynb_checkpoints"):
        save(f"{place}/thumb.jpg")
    fill(root / "__MACOSX" / "cat", 1, ".jpg")
    fill(root / "runs", 1, ".pt")
    (root / "models").mkdir()
    data = folders(root=str(root))
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.valid) == 8
    assert "left out, without images: models/, runs/" in data.notes
    assert "left out, as programs leave them: @eaDir/, __MACOSX/" in data.notes


def test_a_class_of_images_that_are_not_read_is_refused(root):
    fill(root / "fox", 5, ".dcm")
    with pytest.raises(
        UserError, match=r"(?s)1 class folder .* holds no image that can be read.*fox \(5 \.dcm \(DICOM\)\)"
    ):
        folders(root=str(root))


def test_an_empty_class_of_valid_is_as_one_that_lacks(tmp_path, save, caplog):
    for place in ("train/cat", "train/dog", "valid/cat"):
        save(f"{place}/x.jpg")
    (tmp_path / "valid" / "dog").mkdir()
    assert len(folders(root=str(tmp_path)).valid) == 1
    assert "no image in valid:\n  dog" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".mpo", "MPO"), (".j2k", "JPEG2000"), (".jpf", "JPEG2000"), (".TGA", "TGA"), (".HEIC", "HEIF")],
)
def test_rarer_images_are_known_by_their_suffix(root, suffix, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra formats is not installed").register_heif_opener()
    (root / "fox").mkdir()
    for number in range(2):
        Image.open(root / "cat" / f"{number}.JPG").save(root / "fox" / f"{number}{suffix}", kind)
    data = folders(root=str(root))
    assert data.classes == ("cat", "dog", "fox")
    names = [part.name(index) for part in (data.train, data.valid) for index in range(len(part))]
    assert sum(name.startswith("fox/") for name in names) == 2
