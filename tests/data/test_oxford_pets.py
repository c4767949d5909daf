import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.data import oxford_pets, pets
from expkit.data.fetch import Archive
from expkit.errors import UserError


def test_official_lists_decide(pets_mini):
    data = pets(root=str(pets_mini))
    assert (len(data.train), len(data.valid), data.test) == (327, 148, None)
    assert len(data.classes) == 37
    assert data.train.name(0) == "images/Abyssinian_185.jpg"
    for images in (data.train, data.valid):
        breeds = [images.name(i).removeprefix("images/").rsplit("_", 1)[0] for i in range(len(images))]
        assert breeds == [data.classes[label] for label in images.labels]


def test_valid_may_be_cut_from_trainval_and_test_is_labelled(pets_mini):
    data = pets(root=str(pets_mini), valid_pct=0.2)
    assert len(data.train) + len(data.valid) == 327
    assert set(data.train.labels) == set(data.valid.labels) == set(range(37))
    assert len(data.test) == 148
    assert (data.test.labels >= 0).all()


def test_species_follow_the_case_of_the_first_letter(pets_mini):
    data = pets(root=str(pets_mini), labels="species")
    assert data.classes == ("cat", "dog")
    upper = [data.train.name(i).removeprefix("images/")[0].isupper() for i in range(len(data.train))]
    assert (np.array(upper) == (data.train.labels == 0)).all()


def test_every_photo_is_read(pets_mini):
    data = pets(root=str(pets_mini))
    for images in (data.train, data.valid):
        for index in range(len(images)):
            image = images.read(index, 64)
            assert image.mode == "RGB"
            assert min(image.size) >= 64


@pytest.fixture
def layout(tmp_path, save):
    """A made-up data set of two breeds in the official layout."""

    def make(folder: str) -> str:
        lists = {"trainval": range(1, 4), "test": range(4, 6)}
        (tmp_path / folder / "annotations").mkdir(parents=True)
        for name, numbers in lists.items():
            lines = [f"{breed}_{n} 1 1 1" for breed in ("Manx", "saint_bernard") for n in numbers]
            (tmp_path / folder / "annotations" / f"{name}.txt").write_text("#Image CLASS\n" + "\n".join(lines) + "\n")
        for breed in ("Manx", "saint_bernard"):
            for number in range(1, 6):
                save(f"{folder}/images/{breed}_{number}.jpg")
        return str(tmp_path / folder)

    return make


def test_the_folder_that_torchvision_makes_is_found(layout, tmp_path):
    layout("root/oxford-iiit-pet")
    assert pets(root=str(tmp_path / "root")).classes == ("Manx", "saint_bernard")


def test_files_in_neither_list_are_never_read(layout):
    root = layout("pets")
    for name in ("Manx_99.jpg", "Manx_98.mat"):
        with open(f"{root}/images/{name}", "wb"):
            pass
    assert len(pets(root=root).train) == 6


def test_a_listed_image_that_is_missing_is_named(layout):
    root = layout("pets")
    os.remove(f"{root}/images/Manx_2.jpg")
    with pytest.raises(UserError, match=r"(?s)1 image .*images/Manx_2\.jpg does not exist"):
        pets(root=root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no image"),
        ("../../x_1 1 1 1\n", "1 line that starts .*line 1"),
        ("Manx_1 1 1 1\nManx_1 1 1 1\n", "1 image twice"),
    ],
)
def test_a_damaged_list_is_named(layout, text, message):
    root = layout("pets")
    with open(f"{root}/annotations/trainval.txt", "w") as file:
        file.write(text)
    with pytest.raises(UserError, match=f"(?s)trainval.txt .*{message}"):
        pets(root=root)


def test_an_image_in_both_lists_is_refused(layout):
    root = layout("pets")
    shutil.copy(f"{root}/annotations/trainval.txt", f"{root}/annotations/test.txt")
    with pytest.raises(UserError, match="6 images are in both"):
        pets(root=root)


def test_without_download_the_missing_files_are_named(tmp_path):
    with pytest.raises(
        UserError, match=r"data\.root: .*data\.download is false; fetch images\.tar\.gz and annotations"
    ):
        pets(root=str(tmp_path / "none"), download=False)


@pytest.fixture
def official(monkeypatch):
    """Let the data set come from elsewhere."""
    return lambda *archives: monkeypatch.setattr(oxford_pets, "ARCHIVES", archives)


def test_offline_one_line_says_what_to_fetch_and_where_to_put_it(tmp_path, official):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    official(*(Archive(f"{address}/{part}.tar.gz", "", part) for part in ("images", "annotations")))
    with pytest.raises(UserError) as raised:
        pets(root=str(tmp_path / "none"))
    message = str(raised.value)
    assert "\n" not in message
    assert "images.tar.gz and annotations.tar.gz of the Oxford-IIIT Pet dataset" in message
    assert f"unpack both in {tmp_path / 'none'}" in message
    assert "refused" in message


def test_the_data_set_is_fetched_where_the_root_lacks_it(tmp_path, layout, official, publish):
    source = Path(layout("source"))
    official(publish(source / "images"), publish(source / "annotations"))
    data = pets(root=str(tmp_path / "fetched"))
    assert data.classes == ("Manx", "saint_bernard")
    assert (len(data.train), len(data.valid)) == (6, 4)
    with Image.open(source / "images/Manx_1.jpg") as image:
        assert (np.asarray(data.train.read(0)) == np.asarray(image)).all()
    official()
    assert pets(root=str(tmp_path / "fetched")).fingerprint == data.fingerprint, "found without the server now"
