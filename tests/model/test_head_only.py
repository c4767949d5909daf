import subprocess
import sys

import pytest
import torch
import torchvision

from expkit.errors import UserError
from expkit.model import efficientnet_lite0, resnet18, resnet34, timm, xresnet18, xresnet34, xresnet50
from expkit.model.summary import summary
from expkit.model.weights import save_weights

MODELS = {
    "resnet18": (resnet18, {}, 1024),
    "resnet34": (resnet34, {"pool": "avg"}, 512),
    "xresnet18": (xresnet18, {"head": "linear"}, 512),
    "xresnet34": (xresnet34, {}, 1024),
    "xresnet50": (xresnet50, {}, 4096),
    "efficientnet_lite0": (efficientnet_lite0, {}, 2560),
    "timm convolutions": (timm, {"name": "test_resnet"}, 192),
    "timm transformer": (timm, {"name": "test_vit"}, 64),
}
BODY = ("early", "late")


def seeded(build, *wired, **options):
    torch.manual_seed(7)
    return build(*wired, **options)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", MODELS)
def test_the_head_starts_alike_with_and_without_a_body(name):
    build, options, features = MODELS[name]
    whole, alone = seeded(build, 10, **options), seeded(build, 10, features, BODY, **options)
    assert same(alone.state_dict(), {key: t for key, t in whole.state_dict().items() if key.startswith("head.")})
    assert not same(alone.state_dict(), build(10, features, **options).state_dict()), "another seed, another head"


def test_pretrained_weights_do_not_move_the_head_s_start(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "backbone.pt")
    file = str(tmp_path / "backbone.pt")
    plain = seeded(resnet18, 10).head.state_dict()
    assert same(seeded(resnet18, 10, weights=file).head.state_dict(), plain)
    assert same(seeded(resnet18, 10, 1024, weights=file).head.state_dict(), plain), "a backbone has no head for us"


def test_the_body_s_layer_groups_stay_and_are_empty():
    model = resnet18(5, 1024, ("stem to layer2", "layer3 and layer4"))
    assert [group.name for group in model.layer_groups] == [group.name for group in resnet18(5).layer_groups]
    assert [list(group.parameters()) for group in model.layer_groups[:-1]] == [[], []]
    assert list(model.layer_groups[-1].parameters()) == list(model.parameters())
    assert [row.parameters for row in summary(model)[:-1]] == [0, 0]


def test_features_give_the_logits_of_the_whole_by_either_way():
    whole, alone = seeded(resnet18, 5).eval(), seeded(resnet18, 5, 1024).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features = whole.features(images)
        assert torch.equal(whole(features), whole(images))
        assert torch.equal(alone(features), whole(images))
    assert alone(features).dtype == torch.float32


def test_the_head_of_an_expkit_file_is_taken_unless_the_body_alone_is_wanted(tmp_path):
    whole = resnet18(5)
    save_weights(whole, tmp_path / "whole.safetensors")
    file = str(tmp_path / "whole.safetensors")
    assert same(resnet18(5, 1024, weights=file).head.state_dict(), whole.head.state_dict())
    new = seeded(resnet18, 5, 1024, weights=file, weights_part="body").head.state_dict()
    assert same(new, seeded(resnet18, 5, 1024).head.state_dict())


def test_a_head_of_another_shape_is_named_as_with_a_body(tmp_path):
    save_weights(resnet18(5), tmp_path / "five.safetensors")
    with pytest.raises(UserError, match=r"5 classes, the model's 7.*weights_part=body") as caught:
        resnet18(7, 1024, weights=str(tmp_path / "five.safetensors"))
    assert "head.6.weight is 5x512 in the file, 7x512 in the model" in str(caught.value)
    with pytest.raises(UserError, match=r"head\.2\.weight is 512x1024 in the file, 512x512 in the model"):
        resnet18(5, 512, weights=str(tmp_path / "five.safetensors"))


def test_a_file_without_a_head_says_so(tmp_path):
    body = {name: tensor for name, tensor in resnet18(5).state_dict().items() if name.startswith("body.")}
    torch.save(body, tmp_path / "body.pt")
    for features in (None, 1024):
        with pytest.raises(UserError, match=r"the file has none\): set model.weights_part=body"):
            resnet18(5, features, weights=str(tmp_path / "body.pt"))


def test_neither_torchvision_nor_timm_is_imported():
    code = (
        "import sys; from expkit.model import resnet18, timm, efficientnet_lite0;"
        "resnet18(5, 1024, weights='IMAGENET1K_V1'); timm(5, 64, name='test_vit', weights='pretrained');"
        "efficientnet_lite0(5, 2560); assert not {'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
