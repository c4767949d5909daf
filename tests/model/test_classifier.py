import copy
import functools

import pytest
import torch
from torch import nn

from expkit.errors import UserError
from expkit.model import efficientnet_lite0, resnet18, resnet34, timm, xresnet34, xresnet50
from expkit.model.classifier import Classifier, LayerGroup
from expkit.model.head import Pool
from expkit.model.options import IMAGENET_MEAN, IMAGENET_STD

MODELS = {
    "resnet18": lambda classes: resnet18(classes),
    "resnet34": lambda classes: resnet34(classes, head="linear"),
    "xresnet34": lambda classes: xresnet34(classes, head="linear"),
    "xresnet50": lambda classes: xresnet50(classes),
    "efficientnet_lite0": lambda classes: efficientnet_lite0(classes, weights=None),
    "timm convolutions": lambda classes: timm(classes, name="test_resnet"),
    "timm transformer": lambda classes: timm(classes, name="test_vit"),
}


@functools.cache
def built(name: str) -> Classifier:
    """The model `name` for five classes, built once."""
    return MODELS[name](5)


def photos(size: int = 32) -> torch.Tensor:
    """Random uint8 images, N x 3 x H x W in channels_last."""
    draws = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=draws).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_float32_logits_and_learns_in_all_its_layers(name):
    model = built(name)
    logits = model(photos(size=160 if "transformer" in name else 32))
    assert logits.shape == (2, 5)
    assert logits.dtype == torch.float32
    logits.logsumexp(1).sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", MODELS)
def test_layer_groups_hold_each_parameter_once_and_end_in_the_head(name):
    model = built(name)
    grouped = [id(parameter) for group in model.layer_groups for parameter in group.parameters()]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert len(model.layer_groups) == 3
    assert model.layer_groups[-1].modules == (model.head,)


def test_resnet_groups_split_after_layer2():
    model = resnet18(5)
    body = model.body
    assert model.layer_groups[0].modules == (body.conv1, body.bn1, body.relu, body.maxpool, body.layer1, body.layer2)
    assert model.layer_groups[1].modules == (body.layer3, body.layer4)


def test_layer_groups_of_a_copy_are_those_of_the_copy():
    model = copy.deepcopy(timm(5, name="test_vit"))
    own = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for group in model.layer_groups for parameter in group.parameters()} == own


def test_a_group_list_that_misses_or_repeats_layers_is_refused():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    for modules in ((body[0],), (body, body[0])):
        groups = [LayerGroup("body", modules)]
        with pytest.raises(ValueError, match=r"exactly one layer group"):
            Classifier(body, Pool("avg"), nn.Linear(4, 2), body_groups=groups, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def test_pixels_are_normalized_to_rounding_and_stay_channels_last():
    model = resnet18(2)
    images = photos()
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    expected = (images.double() / 255 - mean) / std
    for given in (images, images.float()):
        found = model.normalize(given)
        assert found.dtype == torch.float32
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_mean_and_std_can_be_set_and_are_no_weights():
    model = resnet18(2, mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
    assert model.normalize(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist() == pytest.approx(
        [2, 2, 2]
    )
    assert all(name.startswith(("body.", "head.")) for name in model.state_dict())


def test_concat_head_is_the_documented_one():
    model = resnet18(37)
    kinds = [nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in model.head] == kinds
    assert [layer.p for layer in model.head if isinstance(layer, nn.Dropout)] == [0.25, 0.5]
    shapes = {name: tuple(parameter.shape) for name, parameter in model.head.named_parameters()}
    assert shapes == {
        "0.weight": (1024,),
        "0.bias": (1024,),
        "2.weight": (512, 1024),
        "4.weight": (512,),
        "4.bias": (512,),
        "6.weight": (37, 512),
        "6.bias": (37,),
    }


def test_head_starts_from_hes_distribution_and_no_bias():
    head = resnet18(37).head
    assert head[2].weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.01)
    assert head[6].weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.05)
    assert not head[6].bias.any()


def test_head_options():
    model = resnet18(7, head="concat", pool="avg", hidden=64, dropout=[0.0, 0.1])
    assert model.head[2].weight.shape == (64, 512)
    assert [layer.p for layer in model.head if isinstance(layer, nn.Dropout)] == [0.0, 0.1]
    linear = resnet18(7, head="linear").head
    assert [tuple(parameter.shape) for parameter in linear.parameters()] == [(7, 512), (7,)]
    assert linear[0].p == 0


def test_pooling_is_maximum_then_average():
    feature_map = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert Pool("concat")(feature_map).tolist() == [[6, 3]]
    assert Pool("avg")(feature_map).tolist() == [[3]]
    assert Pool("max")(feature_map).tolist() == [[6]]


def test_head_on_features_gives_the_logits():
    model = resnet18(5).eval()
    with torch.no_grad():
        torch.testing.assert_close(model.head(model.features(photos())), model(photos()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": [0.5]}, r"one share for each linear layer, which is 2 with model.head=concat, got \[0.5\]"),
        ({"dropout": [1.0, 0.5]}, "dropout must be"),
        ({"head": "conact"}, "did you mean 'concat'"),
        ({"hidden": 0}, "hidden must be a whole number of at least 1"),
        ({"std": [0.2, 0.2]}, "std must be"),
        ({"std": [0.2, 0.0, 0.2]}, "std must be"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        resnet18(5, **options)
