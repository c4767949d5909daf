import pytest
import torch
from omegaconf import OmegaConf

from expkit.errors import UserError
from expkit.model import efficientnet_lite0, resnet18, timm, xresnet18
from expkit.model.groups import early_and_late
from expkit.model.named_groups import named_groups
from expkit.model.timm_body import matched_groups, needed

THREE = {"stem": ["conv1", "bn1", "layer1"], "middle": ["layer2", "layer3"], "late": ["layer4"]}


def names_in(model, group):
    """The parameters of a layer group by their names in the model."""
    found = {id(parameter) for parameter in group.parameters()}
    return [name for name, parameter in model.named_parameters() if id(parameter) in found]


def test_groups_are_those_that_the_config_names_in_its_order():
    model = resnet18(5, groups=THREE)
    assert [group.name for group in model.layer_groups] == ["stem", "middle", "late", "head"]
    for group in model.layer_groups[:-1]:
        places = {name.split(".")[1] for name in names_in(model, group)}
        assert places == set(THREE[group.name])
    assert model.layer_groups[1].modules == (model.body.layer2, model.body.layer3), "whole layers, for a readable table"


@pytest.mark.parametrize(
    ("build", "groups"),
    [
        (xresnet18, {"all": ["stem", "layer1", "layer2", "layer3", "layer4"]}),
        (efficientnet_lite0, {"stem": ["conv_stem", "bn1"], "rest": ["blocks", "conv_head", "bn2"]}),
        (
            lambda classes, **options: timm(classes, name="test_vit", **options),
            {"tokens": ["cls_token", "pos_embed", "patch_embed"], "blocks": ["blocks", "norm"]},
        ),
    ],
)
def test_every_model_takes_groups_also_of_single_parameters(build, groups):
    model = build(3, groups=groups)
    grouped = [name for group in model.layer_groups for name in names_in(model, group)]
    assert sorted(grouped) == sorted(name for name, _ in model.named_parameters())
    assert [group.name for group in model.layer_groups] == [*groups, "head"]


def test_a_layer_may_be_cut_in_two_by_its_blocks():
    model = resnet18(
        5, groups={"early": ["conv1", "bn1", "layer1.0"], "late": ["layer1.1", "layer2", "layer3", "layer4"]}
    )
    assert model.layer_groups[1].modules[0] is model.body.layer1[1]


def test_a_name_does_not_stand_for_those_that_begin_with_it():
    blocks = {f"blocks.{number}": [f"blocks.{number}"] for number in range(12)}
    with torch.device("meta"):
        body = needed("timm").create_model("vit_tiny_patch16_224", num_classes=0)
    groups = named_groups(body, {"tokens": ["cls_token", "pos_embed", "patch_embed", "norm"], **blocks})
    assert {len(list(group.parameters())) for group in groups[1:]} == {12}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"a": ["layr1"], "b": ["layer2"]},
            r"names 1 layer that the body has not:\n.*layr1 of a: did you mean 'layer1'",
        ),
        ({"a": ["layer1.7"]}, "layer1.7 of a: did you mean 'layer1"),
        ({"a": ["conv1", "bn1", "layer1", "layer2"], "b": ["layer4"]}, "layer3.0.conv1.weight is in none"),
        ({**THREE, "again": ["layer4.1"]}, "layer4.1.conv1.weight is in late and again"),
        ({**THREE, "idle": ["relu", "maxpool"]}, "idle has no layer with parameters"),
        ({"head": ["layer1"]}, "a group called head"),
        ({}, "groups must be"),
        ({"a": []}, "groups must be"),
        ({"a": "layer1"}, "groups must be"),
    ],
)
def test_groups_that_do_not_fit_the_body_are_refused_by_name(groups, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        resnet18(5, groups=groups)


FIRST_LATE = {
    "convnext_atto": "stages.2",
    "vit_tiny_patch16_224": "blocks.6",
    "swin_tiny_patch4_window7_224": "layers.2",
    "efficientnet_b0": "blocks.3",
    "tf_efficientnet_lite0": "blocks.3",
    "mobilenetv3_small_050": "blocks.3",
    "regnety_002": "s3",
    "resnet50": "layer3",
    "densenet121": "features.denseblock3",
    "maxvit_rmlp_pico_rw_256": "stages.2",
}


@pytest.mark.parametrize("name", FIRST_LATE)
def test_timm_s_own_matcher_splits_a_model_in_the_middle_of_its_depth(name):
    with torch.device("meta"):
        body = needed("timm").create_model(name, num_classes=0)
    early, late = matched_groups(body)
    grouped = [id(parameter) for group in (early, late) for parameter in group.parameters()]
    assert sorted(grouped) == sorted(id(parameter) for parameter in body.parameters())
    assert names_in(body, late)[0].startswith(f"{FIRST_LATE[name]}.")
    assert not any(one.startswith(f"{FIRST_LATE[name]}.") for one in names_in(body, early))


@pytest.mark.parametrize("name", ["poolformer_s12", "rdnet_tiny"])
def test_a_model_that_timm_cannot_group_says_what_to_name_and_then_works(name):
    with torch.device("meta"):
        body = needed("timm").create_model(name, num_classes=0)
    with pytest.raises(UserError, match=rf"timm groups the layers of {name} not at all .*'model\.groups=") as raised:
        matched_groups(body)
    advice = str(raised.value).split("model.groups=")[1].rstrip("'")
    groups = named_groups(body, OmegaConf.to_container(OmegaConf.create(f"groups: {advice}"))["groups"])
    assert sum(len(list(group.parameters())) for group in groups) == len(list(body.parameters()))


def test_an_odd_depth_goes_to_the_early_layers():
    body = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(5)))
    early, late = early_and_late(body, {name: int(name[0]) for name, _ in body.named_parameters()})
    assert (len(early.modules), len(late.modules)) == (3, 2)


def test_layers_that_two_blocks_share_are_in_one_group():
    shared = torch.nn.Linear(2, 2)
    body = torch.nn.Sequential(torch.nn.Sequential(shared), torch.nn.Sequential(shared, torch.nn.Linear(2, 2)))
    early, late = early_and_late(body, {name: int(name[0]) for name, _ in body.named_parameters()})
    assert list(early.parameters()) == list(shared.parameters())
    assert list(late.parameters()) == list(body[1][1].parameters())
