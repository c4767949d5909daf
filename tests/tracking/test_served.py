"""The served model is the validated one: the same pixels to the bit, with nothing of the config but what it needs."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import save_file

from expkit.augment import none, side_on
from expkit.build import build
from expkit.data.files import ImageFiles
from expkit.data.packed import Packed
from expkit.errors import UserError
from expkit.features import FeatureCache, Frozen
from expkit.feed.loading import make_loader
from expkit.run_folder import RunFolder
from expkit.trained.description import what_serves
from expkit.trained.own_code import own_code, own_modules
from expkit.trainer.evaluate import evaluate
from expkit.whole_files import read_json, write_json

PHOTOS = 24


def photos(folder):
    names = Packed.from_names(path.name.encode() for path in sorted(folder.glob("*.jpg"))[:PHOTOS])
    return ImageFiles(str(folder), names, np.arange(PHOTOS), np.arange(PHOTOS) % 3)


def finished(path, precision="fp32", **config):
    """A run's folder as far as serving reads it."""
    folder = RunFolder(path, "test")
    path.mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.create(config), folder.config)
    reading = {"alpha": "white", "white": None, "arrays": None}
    write_json(folder.result, {"classes": ["a", "b", "c"], "reading": reading, "precision": precision})
    return folder


def loaded(path, served, model):
    from expkit.tracking.pyfunc import ImageClassifier

    (path / "served.json").write_text(json.dumps(served | {"own": []}))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path / "weights")
    classifier = ImageClassifier()
    artifacts = {"served": str(path / "served.json"), "weights": str(path / "weights")}
    classifier.load_context(SimpleNamespace(artifacts=artifacts))
    return classifier


@pytest.mark.parametrize(("size", "precision"), [(64, "bf16"), (128, "fp32"), (224, "fp32")])
def test_the_served_model_sees_and_says_what_validation_does(tmp_path, pets_mini, size, precision):
    files = photos(pets_mini / "images")
    model_node = {"_target_": "expkit.model.timm", "name": "test_resnet", "weights": "somewhere"}
    folder = finished(
        tmp_path / "run",
        precision,
        model=model_node,
        augment={"_target_": "expkit.augment.side_on", "resize": "crop"},
        data={"_target_": "a_package.that.is_not_here"},
        sched={"_target_": "another.one"},
        image_size=size,
    )
    served = what_serves(folder, folder.exported_weights)
    torch.manual_seed(0)
    model = build(served["model"], 3, group="model").eval()
    classifier = loaded(tmp_path, served, model)
    transforms = side_on(size)
    loader = make_loader(files, transforms, batch_size=8, seed=0, train=False, num_workers=0)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        validated = evaluate(lambda batch: model(batch.images).float(), loader, 3)
    requests = [(pets_mini / "images" / files.name(index)).read_bytes() for index in range(PHOTOS)]

    seen = [classifier.trained.pixels(request) for request in requests]
    assert torch.equal(torch.stack(seen), torch.cat([batch.images for batch in loader]).permute(0, 2, 3, 1))
    answers = classifier.trained.predict(requests)
    assert answers["class"].tolist() == [served["classes"][index] for index in validated.predictions]
    np.testing.assert_allclose(answers["confidence"], validated.confidences, rtol=1e-4)
    reduced = [Image.open(pets_mini / "images" / files.name(index)).size for index in range(PHOTOS)]
    assert size == 224 or any(min(extent) >= 2 * size for extent in reduced), "or nothing was decoded smaller"


@pytest.mark.parametrize(("body", "head"), [("bf16", "fp32"), ("bf16", "bf16"), ("fp32", "fp32")])
def test_what_was_validated_on_precomputed_features_is_served_so(tmp_path, pets_mini, body, head):
    files = photos(pets_mini / "images")
    folder = finished(
        tmp_path / "run",
        "bf16",
        model={"_target_": "expkit.model.timm", "name": "test_resnet", "weights": None},
        augment={"_target_": "expkit.augment.none"},
        image_size=64,
    )
    write_json(folder.result, read_json(folder.result) | {"features": {"body": body, "head": head}})
    served = what_serves(folder, folder.exported_weights)
    torch.manual_seed(0)
    model = build(served["model"], 3, group="model").eval()
    autocast = torch.bfloat16 if body == "bf16" else None
    frozen = Frozen(
        {"model": served["model"], "image_size": 64, "seed": 0}, lambda: (model, torch.device("cpu"), autocast)
    )
    features = FeatureCache(tmp_path / "cache").features(frozen, files, none(64), num_workers=0)
    rows = features.take(torch.arange(PHOTOS))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=head == "bf16"):
        validated = model(rows).float().softmax(dim=1).max(dim=1)
    requests = [(pets_mini / "images" / files.name(index)).read_bytes() for index in range(PHOTOS)]
    answers = loaded(tmp_path, served, model).trained.predict(requests)
    assert answers["class"].tolist() == [served["classes"][index] for index in validated.indices]
    np.testing.assert_allclose(answers["confidence"], validated.values, rtol=1e-6)


def test_a_photo_is_decoded_as_large_as_the_strongest_zoom_needs(tmp_path):
    Image.new("RGB", (3600, 2700)).save(tmp_path / "large.jpg")
    files = ImageFiles(str(tmp_path), Packed.from_names([b"large.jpg"]), np.arange(1), np.arange(1))
    usual, strong = side_on(224), side_on(224, zoom=8.0)
    assert min(files.read(0, usual.side(train=True)).size) == 338
    assert min(files.read(0, strong.side(train=True)).size) == 2700, "an eighth of it is 338 pixels, not 42"
    assert strong.side(train=False) == usual.side(train=False) == none(224).side(train=True) == 224
    assert strong.fixed().side(train=True) == 224


def test_a_transform_that_does_not_say_what_it_needs_sees_all():
    from expkit.augment import Transforms

    assert Transforms(print, print, random=False, size=64).side(train=True) is None


def test_code_of_the_users_own_goes_along(tmp_path, monkeypatch):
    (tmp_path / "my_net.py").write_text("def tiny(classes, width=1):\n    return ('net', classes, width)\n")
    monkeypatch.syspath_prepend(tmp_path)
    folder = finished(
        tmp_path / "run",
        model={"_target_": "my_net.tiny", "width": 4},
        augment={"_target_": "expkit.augment.none"},
        image_size=8,
    )
    served = what_serves(folder, folder.exported_weights)
    with pytest.raises(UserError, match="EXPKIT_TRUST=my_net"):
        own_modules(served)
    monkeypatch.setenv("EXPKIT_TRUST", "my_net")
    assert own_modules(served) == ["my_net"]
    assert served["model"] == {"_target_": "my_net.tiny", "width": 4}
    assert own_code(["my_net"]) == ([str(tmp_path / "my_net.py")], [])
    assert own_code(["timm"])[1][0].startswith("timm==")

    from expkit.trained.classifier import described

    monkeypatch.delenv("EXPKIT_TRUST")
    assert described(served, "model", 3, own=["my_net"]) == ("net", 3, 4)
    sys.modules.pop("my_net")
    with pytest.raises(UserError, match=r"EXPKIT_TRUST=my_net"):
        described(served, "model", 3, own=[])
    assert "my_net" not in sys.modules


def test_loading_the_model_says_nothing_on_the_screen(recwarn):
    import importlib

    from expkit.tracking import pyfunc

    importlib.reload(pyfunc)
    assert not [warning for warning in recwarn if "type hint" in str(warning.message)]


def test_the_modules_that_an_own_model_imports_go_along(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_net_2.py").write_text("import math\nfrom my_parts.blocks import act\nimport timm, my_absent\n")
    (tmp_path / "my_parts").mkdir()
    (tmp_path / "my_parts" / "__init__.py").write_text("from . import blocks\n")
    (tmp_path / "my_parts" / "blocks.py").write_text("def act():\n    import my_deepest\n")
    (tmp_path / "my_deepest.py").write_text("raise RuntimeError('is not run to be found')\n")
    code, requirements = own_code(["my_net_2"])
    assert sorted(code) == [str(tmp_path / name) for name in ("my_deepest.py", "my_net_2.py", "my_parts")]
    assert [one.partition("==")[0] for one in requirements] == ["timm"]
