import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from expkit.augment import none, side_on
from expkit.errors import UserError
from expkit.features import identity_of
from expkit.features.identity import Frozen, body_keys, key_of, transform_identity

RESNET = {
    "_target_": "expkit.model.resnet18",
    "weights": None,
    "weights_part": "all",
    "head": "concat",
    "pool": None,
    "hidden": 512,
    "dropout": None,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "groups": None,
}
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def identity(node=None, **changes):
    options = {"seed": 0, "image_size": 64, "precision": "auto", "device": CPU, "native": True} | changes
    return identity_of({**RESNET, **(node or {})}, **options)


def same(left, right):
    return key_of(left) == key_of(right)


@pytest.mark.parametrize(
    "node", [{"hidden": 64}, {"dropout": [0.1, 0.2]}, {"weights_part": "body"}, {"pool": "concat"}]
)
def test_the_head_does_not_matter(node):
    assert same(identity(), identity(node))


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "expkit.model.resnet34"},
        {"pool": "avg"},
        {"head": "linear"},  # which pools by average
        {"mean": [0.4, 0.5, 0.5]},
        {"std": [0.4, 0.2, 0.2]},
        {"weights": "IMAGENET1K_V1"},
    ],
)
def test_what_the_features_depend_on_matters(node):
    assert not same(identity(), identity(node))


@pytest.mark.parametrize(
    "change", [{"image_size": 65}, {"precision": "fp32"}, {"native": False}, {"device": torch.device("meta")}]
)
def test_where_and_how_it_computes_matters(change):
    assert not same(identity(), identity(**change))


def test_the_seed_matters_only_where_weights_are_drawn(tmp_path):
    assert not same(identity(), identity(seed=1))
    published = {"weights": "IMAGENET1K_V1"}
    assert same(identity(published), identity(published, seed=1))


GOLDEN = {
    "efficientnet_lite0": "1a9df9db71c9010fa659c679a45bcd29",
    "resnet18": "7873037f027a4b6a508f3a47985755cb",
    "timm": "a400ab3b32ab3eb92c025661f85bffd8",
    "xresnet50": "3cbe6b61191a8b43021470f82491cb38",
}
"""Keys of the bodies in conf/model, as entries in people's caches have them."""


@pytest.mark.parametrize("name", GOLDEN)
def test_entries_of_older_caches_are_found_again(name):
    node = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "model" / f"{name}.yaml"))
    assert key_of(body_keys(node)) == GOLDEN[name]


def test_weights_that_a_node_leaves_out_are_those_of_the_model():
    node = {"_target_": "expkit.model.efficientnet_lite0"}
    options = {"seed": 0, "image_size": 64, "precision": "auto", "device": CPU, "native": True}
    assert identity_of(node, **options)["weights"] == "published as imagenet"
    assert identity_of({**node, "weights": None}, **options)["weights"] == "drawn from seed 0"


def test_a_file_of_weights_is_known_by_its_bytes(tmp_path):
    for name, text in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(text)
    a, b, c = (identity({"weights": str(tmp_path / name)}) for name in ("a.pt", "b.pt", "c.pt"))
    assert same(a, b)
    assert not same(a, c)
    with pytest.raises(UserError, match=r"model\.weights"):
        identity({"weights": str(tmp_path / "d.pt")})


def test_layer_groups_matter_to_the_body_but_not_to_its_features():
    groups = {"early": ["layer1"], "late": ["layer2"]}
    swapped = dict(reversed(groups.items()))
    plain, cut, recut = (identity({"groups": value}) for value in (None, groups, swapped))
    assert len({key_of(one) for one in (plain, cut, recut)}) == 3
    features = {key_of(Frozen(one, build=print).features_identity) for one in (plain, cut, recut)}
    assert len(features) == 1


def test_all_keys_and_files_of_a_model_that_is_not_ours_matter(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPKIT_TRUST", "tests")
    other = {"_target_": "tests.features.tiny.classifier", "hidden": 3, "body": {"start": str(tmp_path / "start.bin")}}
    (tmp_path / "start.bin").write_bytes(b"one")
    first = identity(other)
    assert same(first, identity(other))
    assert not same(first, identity({**other, "hidden": 4}))
    (tmp_path / "start.bin").write_bytes(b"two")
    assert not same(first, identity(other))


def test_an_identity_is_plain_json():
    found = identity({"mean": (0.5, 0.5, 0.5), "groups": {"early": ["layer1"]}})
    assert json.loads(json.dumps(found)) == found
    assert torch.__version__.startswith(found["packages"]["torch"])


def test_transforms_are_told_apart_by_what_they_do():
    one, other = side_on(24), side_on(24, rotate=20.0)
    assert transform_identity(one.valid) == transform_identity(other.valid) == transform_identity(none(24).valid)
    assert transform_identity(one.train, 0, 1, 2) != transform_identity(other.train, 0, 1, 2)
    assert transform_identity(none(24).valid) != transform_identity(none(25).valid)


class Filled:
    """A user's own transform: an object that shows nothing of what it holds."""

    def __init__(self, value):
        self.value = value

    def __call__(self, image, seed=0):
        return torch.full((4, 4, 3), self.value, dtype=torch.uint8)


def test_objects_and_nameless_functions_are_told_apart_by_what_they_give():
    assert transform_identity(Filled(1)) == transform_identity(Filled(1))
    assert transform_identity(Filled(1)) != transform_identity(Filled(2))
    assert transform_identity(lambda image: Filled(1)(image)) != transform_identity(lambda image: Filled(2)(image))
    assert transform_identity(partial(Filled(1))) != transform_identity(partial(Filled(2)))


def test_how_images_are_read_matters():
    from types import SimpleNamespace

    from expkit.data.images.reading import Reading
    from expkit.features.cache import view_identity

    def read(reading=None, transforms=None, view=None):
        images = SimpleNamespace(reading=reading or Reading())
        return view_identity(SimpleNamespace(images=images, transforms=transforms or side_on(24), view=view, seed=0))

    assert same(read(), read())
    assert not same(read(), read(Reading(alpha="black")))
    assert not same(read(), read(Reading(white=4095)))
    assert not same(read(view=1), read(transforms=side_on(24, zoom=8.0), view=1))


OWN_NET = """
from torch import nn
from expkit.model.classifier import Classifier, LayerGroup

def net(classes):
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.{act}())
    groups = [LayerGroup("body", (body,))]
    return Classifier(body, nn.Flatten(), nn.Linear(4, classes), body_groups=groups, mean=(0,) * 3, std=(1,) * 3)
"""
LOOK = """
import torch
from expkit.features import identity_of
from expkit.features.identity import key_of
cpu = torch.device("cpu")
node = {"_target_": "own_net_of_this_test.net"}
print(key_of(identity_of(node, seed=0, image_size=8, precision="fp32", device=cpu, native=True)))
"""


def test_the_code_of_a_users_own_model_matters(tmp_path):
    def look(act):
        (tmp_path / "own_net_of_this_test.py").write_text(OWN_NET.format(act=act))
        path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
        env = {**os.environ, "EXPKIT_TRUST": "own_net_of_this_test", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run([sys.executable, "-c", LOOK], env=env, check=True, capture_output=True, text=True).stdout

    assert look("ReLU") == look("ReLU") != look("Tanh")
