import logging

import numpy as np
import pytest
from PIL import Image

from expkit.data import folders
from expkit.errors import DataError

RAMP = np.tile(np.linspace(0, 1, 32), (24, 1))


@pytest.fixture
def tree(tmp_path):
    def make(save, count=12):
        for number in range(count):
            path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, number)
        return str(tmp_path / "photos")

    return make


def deep(white):
    return lambda path, number: Image.fromarray(np.rint(RAMP * white).astype(np.uint16)).save(path)


def test_dark_16_bit_files_are_warned_of_with_the_white_that_fits(tree, caplog):
    root = tree(deep(4095))
    data = folders(root=root)
    assert "12 of 12 images looked at are of more than 8 bits: 65535 is white (data.white)" in data.notes
    assert "set data.white=4095" in caplog.text
    caplog.clear()
    assert np.asarray(folders(root=root, white=4095).train.read(0)).max() == 255
    assert not caplog.records


def test_8_bit_values_in_16_bit_files_would_be_black(tree):
    with pytest.raises(DataError, match=r"no value above 255 where white is 65535.*data\.white=255"):
        folders(root=tree(deep(255)))


def test_masks_of_0_and_1_would_be_black(tree):
    root = tree(lambda path, number: Image.fromarray((RAMP > 0.5).astype(np.uint8)).save(path))
    with pytest.raises(DataError, match=r"all is black.*data\.white=1"):
        folders(root=root)
    assert np.asarray(folders(root=root, white=1).train.read(0)).max() == 255


def test_some_files_in_another_range_are_counted(tree, caplog):
    folders(root=tree(lambda path, number: deep(65535 if number % 2 else 255)(path, number)))
    assert "6 of 12 images looked at are black and the others are not" in caplog.text


def test_a_few_deep_files_among_others_are_enough_to_tell(tree, caplog):
    plain = Image.fromarray(np.rint(RAMP * 255).astype(np.uint8))
    folders(root=tree(lambda path, number: plain.save(path) if number % 4 else deep(4095)(path, number)))
    assert "each of 3 images looked at holds no value above 4095" in caplog.text


def test_images_that_are_transparent_everywhere_are_told(tree, caplog):
    veiled = np.dstack([np.full((8, 8, 3), 90), np.tile([0, 1], (8, 4))]).astype(np.uint8)
    root = tree(lambda path, number: Image.fromarray(veiled).save(path))
    folders(root=root)
    assert "12 of 12 images looked at are transparent everywhere, so that only white is seen; data.alpha=ignore" in (
        caplog.text
    )
    caplog.clear()
    assert np.asarray(folders(root=root, alpha="ignore").train.read(0)).max() == 90
    assert not caplog.records


def test_alpha_is_told_where_it_shows(tree, caplog):
    def save(path, number):
        image = Image.fromarray((RAMP * 255).astype(np.uint8)).convert("RGB")
        image.putalpha(100 if number < 3 else 255)
        image.save(path)

    root = tree(save)
    assert "3 of 12 images looked at are transparent in part: laid on white (data.alpha)" in folders(root=root).notes
    assert "laid on black" in " ".join(folders(root=root, alpha="black").notes)


def test_usual_photos_are_not_talked_about(tree, caplog):
    caplog.set_level(logging.WARNING)
    data = folders(root=tree(lambda path, number: Image.fromarray((RAMP * 200).astype(np.uint8)).save(path)))
    assert not caplog.records
    assert not any("looked at" in note for note in data.notes)
