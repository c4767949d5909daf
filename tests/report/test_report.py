"""Pictures and page of a run: escaped, whole in themselves, and honest where the images are gone."""

import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from expkit.config.plan import plan
from expkit.feed.loading import make_loader
from expkit.model import timm
from expkit.report.answer import Score
from expkit.report.batch import draw_batch, shown_phase
from expkit.report.grad_cam import maps_of
from expkit.run_folder import RunFolder
from expkit.task.batch_shown import show_batch
from expkit.task.reporting import report
from expkit.task.training import train
from expkit.whole_files import read_json
from expkit.wiring import read, transforms_of
from tests.conftest import SMALL_MODEL

RED, BLUE = '<script>alert("red")&', "it's 'blue' & <b>"


class Text(HTMLParser):
    """The tags of a page, and what a person reads on it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def run(config_of, colour_folders, tmp_path):
    """A run on photos whose classes and files have names that are markup."""
    for split in ("train", "valid"):
        for old, new in (("red", RED), ("blue", BLUE)):
            place = (colour_folders / split / old).rename(colour_folders / split / new)
            for path in list(place.iterdir()):
                path.rename(place / f"{path.stem}<img src=x onerror=alert(1)>.jpg")
    common = (*SMALL_MODEL, "image_size=32", "batch_size=8", "epochs=1", "tracking=none", "num_workers=0")
    config = config_of("data=folders", f"data.root={colour_folders}", "augment=side_on", *common)
    folder = RunFolder.create(tmp_path / "run", "test", vars(config), ["epochs=1"])
    train(config, folder)
    return config, folder, colour_folders


def test_a_run_leaves_a_page_that_is_made_again_also_without_its_images(run, capsys):
    config, folder, images = run
    path = folder.path / "report.html"
    first = path.read_text()
    words = "".join(Text(first).words)
    accuracy = read_json(folder.result)["metrics"]["best"]["valid_accuracy"]
    assert f"{accuracy:.1%} of 16 validation images told rightly" in " ".join(words.split())
    assert f"run={folder.path}" in words
    assert RED in words
    assert "onerror=alert(1)>.jpg" in words
    assert not {"script", "b>", "link", "iframe"} & set(Text(first).tags)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", first)  # nothing is fetched
    assert "data:image/png" in first or "data:image/jpeg" in first
    pictures = {"losses", "schedule", "confusion", "by_class", "reliability", "top_losses", "batch"}
    assert pictures <= {one.stem for one in folder.plots.glob("*.png")}

    report(config, folder, grad_cam=0)
    assert path.read_text() == first
    text = folder.config.read_text()
    folder.config.write_text(text.replace("sched:", "sched:\n  turbo: 1"))  # as of another version of expkit
    report(config, folder, grad_cam=0)
    assert "batch.png stays as it is: " in capsys.readouterr().err
    assert "Training images after augmentation" in path.read_text()
    folder.config.write_text(text)
    shutil.rmtree(images)
    report(config, folder, grad_cam=0)
    gone = path.read_text()
    assert "cannot be read, so there are no examples of its mistakes" in "".join(Text(gone).words)
    assert Text(gone).tags.count("figure") == Text(first).tags.count("figure")  # files and labels still are told


def test_a_batch_is_drawn_as_training_sees_it(config_of, colour_folders, tmp_path, monkeypatch, capsys):
    common = (*SMALL_MODEL, "image_size=24", "batch_size=4", "tracking=none", "augment=side_on")
    config = config_of("data=folders", f"data.root={colour_folders}", *common)
    data, phase = read(config.data), shown_phase(config, plan(config))
    drawn = []
    monkeypatch.setattr("expkit.report.batch.draw_mosaic", lambda path, title, rows, columns: drawn.extend(rows))
    draw_batch(tmp_path / "a.png", config, data, phase)
    transforms = transforms_of(config, phase)
    with make_loader(data.train, transforms, batch_size=4, seed=config.seed, train=True, num_workers=0) as loader:
        batch = next(loader.stream(0, 0, 1))
    tiles = drawn[0].tiles
    seen = torch.stack([torch.from_numpy(np.array(tile.picture)) for tile in tiles]).permute(0, 3, 1, 2)
    assert torch.equal(seen, batch.images)
    assert [tile.lines for tile in tiles] == [[data.classes[label]] for label in batch.labels]
    monkeypatch.undo()
    show_batch(config, RunFolder(tmp_path / "run", "test"))
    assert Image.open(tmp_path / "run" / "plots" / "batch.png").width > 600


def test_an_interval_is_wilsons():
    assert Score("validation", 10, 10).interval == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert Score("test", 15, 20).interval == pytest.approx((0.53130, 0.88814), abs=1e-5)


class Reddest(torch.nn.Module):
    """Class 0 by how red an image is, class 1 by how blue."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.body.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).view(2, 3, 1, 1))

    def normalize(self, images):
        return images / 255

    def forward(self, images):
        return self.body(self.normalize(images)).mean(dim=(2, 3))


def test_grad_cam_shows_what_speaks_for_the_class():
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra explain")
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[:, 0, :4], images[:, 2, 4:] = 200, 200  # red above, blue below
    found = maps_of(SimpleNamespace(model=Reddest(), device=torch.device("cpu")), images, [0, 1])
    assert found[0, :4].min() > 0.9 > 0.1 > found[0, 4:].max()
    assert found[1, 4:].min() > 0.9 > 0.1 > found[1, :4].max()


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_grad_cam_finds_a_map_in_every_kind_of_model(name):
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra explain")
    torch.manual_seed(0)
    model = timm(2, name=name).eval().requires_grad_(False)
    side = model.made_for
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    found = maps_of(SimpleNamespace(model=model, device=torch.device("cpu")), images, [0, 1])
    assert found.shape == (2, side, side)
    assert 0.9 < found.max() <= 1
    assert found.std() > 0.05
