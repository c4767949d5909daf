import logging
import os
import pickle
import random
import re
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from expkit.errors import UserError
from expkit.model import resnet18, resnet34, timm, xresnet34
from expkit.model.weights import fit_weights, read_weights, save_weights


@pytest.fixture(scope="module")
def backbone():
    """torchvision's own resnet18, 1000 classes, as other programs save it."""
    return torchvision.models.resnet18().state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("wrap", [dict, lambda w: {"state_dict": w, "epoch": 3}, lambda w: {"model": w}])
def test_a_backbone_of_torchvision_fills_the_body(tmp_path, backbone, wrap):
    torch.save(wrap(backbone), tmp_path / "w.pth")
    body = resnet18(5, weights=str(tmp_path / "w.pth")).body.state_dict()
    assert same(body, {name: tensor for name, tensor in backbone.items() if not name.startswith("fc.")})


def test_a_backbone_may_be_safetensors_of_data_parallel_or_lack_counters(tmp_path, backbone):
    old = {name: tensor for name, tensor in backbone.items() if not name.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "old.safetensors")
    torch.save({f"module.{name}": tensor for name, tensor in backbone.items()}, tmp_path / "parallel.pt")
    for file in ("old.safetensors", "parallel.pt"):
        model = resnet18(5, weights=str(tmp_path / file))
        assert torch.equal(model.body.layer4[1].conv2.weight, backbone["layer4.1.conv2.weight"])


def test_only_the_foreign_classifier_is_left_out_and_that_is_logged(tmp_path, backbone, caplog):
    torch.save(backbone, tmp_path / "w.pth")
    with caplog.at_level(logging.INFO, "expkit.model"):
        resnet18(5, weights=str(tmp_path / "w.pth"))
    assert "left out fc.weight, fc.bias" in caplog.text


def test_a_whole_classifier_comes_back_bit_for_bit_also_from_channels_last(tmp_path):
    model = resnet18(5).to(memory_format=torch.channels_last)
    save_weights(model, tmp_path / "all.safetensors")
    torch.save(model.state_dict(), tmp_path / "all.pt")
    for file in ("all.safetensors", "all.pt"):
        assert same(resnet18(5, weights=str(tmp_path / file)).state_dict(), model.state_dict())


def test_the_body_alone_can_be_taken_for_other_classes(tmp_path):
    model = resnet18(5)
    save_weights(model, tmp_path / "five.safetensors")
    other = resnet18(7, weights=str(tmp_path / "five.safetensors"), weights_part="body")
    assert same(other.body.state_dict(), model.body.state_dict())
    assert other.head[6].out_features == 7


def test_another_number_of_classes_is_named_with_what_to_do(tmp_path):
    save_weights(resnet18(5), tmp_path / "five.safetensors")
    with pytest.raises(UserError, match=r"5 classes, the model's 7.*weights_part=body") as caught:
        resnet18(7, weights=str(tmp_path / "five.safetensors"))
    assert "head.6.weight is 5x512 in the file, 7x512 in the model" in str(caught.value)


def test_another_architecture_is_named_with_its_first_ten_layers(tmp_path, backbone):
    torch.save(backbone, tmp_path / "w.pth")
    with pytest.raises(UserError, match="The file looks like resnet18, the model like resnet34") as caught:
        resnet34(5, weights=str(tmp_path / "w.pth"))
    lines = str(caught.value).splitlines()
    assert lines[1].strip() == "layer1.2.conv1.weight 64x64x3x3 is missing in the file"
    assert len([line for line in lines if "missing" in line]) == 10
    assert "... and " in lines[11]


def test_weights_of_another_width_or_kind_are_refused(tmp_path, backbone):
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "deep.pth")
    with pytest.raises(UserError, match="looks like resnet50, the model like resnet34"):
        resnet34(5, weights=str(tmp_path / "deep.pth"))
    torch.save(backbone, tmp_path / "w.pth")
    with pytest.raises(UserError, match="looks like resnet18, the model like xresnet34"):
        xresnet34(5, weights=str(tmp_path / "w.pth"))
    save_weights(timm(5, name="test_vit"), tmp_path / "vit.safetensors")
    with pytest.raises(UserError, match=r"looks like another network, of .* tensors"):
        resnet18(5, weights=str(tmp_path / "vit.safetensors"))


def test_a_failed_load_leaves_the_model_as_it_was(tmp_path, backbone):
    model = resnet18(5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save({**backbone, "extra": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="extra 1 is not in the model"):
        fit_weights(model, read_weights(tmp_path / "w.pth"), source="w.pth", classifier=["fc"])
    assert same(model.state_dict(), before)


class Bomb:
    """Runs a shell command where it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, backbone, save):
    save({"conv1.weight": backbone["conv1.weight"], "bomb": Bomb(tmp_path / "witness")}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="refused because it holds more than tensors"):
        resnet18(5, weights=str(tmp_path / "w.pth"))
    assert not (tmp_path / "witness").exists()


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes as bad disks and cut copies leave them."""
    place = draw.randrange(len(data))
    match draw.choice(["cut", "zeros", "bytes", "head"]):
        case "cut":
            return data[:place]
        case "zeros":
            return data[:place] + bytes(200) + data[place + 200 :]
        case "head":
            place = draw.randrange(min(len(data), 300))
    return data[:place] + draw.randbytes(3) + data[place + 3 :]


@pytest.mark.parametrize("name", ["w.pt", "old.pt", "w.safetensors"])
def test_damage_of_any_kind_is_one_clear_error_or_none(tmp_path, name):
    state, path, draw = {f"{index}.weight": torch.ones(8, 8) for index in range(4)}, tmp_path / name, random.Random(0)
    if name == "w.safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "w.pt")
    whole, refusals = path.read_bytes(), []
    for _ in range(300):
        path.write_bytes(damaged(whole, draw))
        try:
            read_weights(path)
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 150
    assert all(str(path) in refusal and "\n" not in refusal for refusal in refusals)


def test_a_hole_in_a_file_of_torch_is_found(tmp_path):
    torch.save({"weight": torch.ones(1000)}, tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    hole = data.index(b"\x00\x00\x80\x3f" * 100) + 400
    (tmp_path / "w.pt").write_bytes(data[:hole] + bytes(512) + data[hole + 512 :])
    with pytest.raises(UserError, match=r"w\.pt is damaged \(the checksum of .*data/0 is wrong"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_weights_that_are_no_numbers_are_refused(tmp_path, name):
    state = {"good": torch.full((2,), -torch.inf), "bad": torch.tensor([1.0, torch.nan])}
    torch.save(state, tmp_path / name) if name == "w.pt" else save_file(state, tmp_path / name)
    with pytest.raises(UserError, match=r"no numbers \(nan\), first in bad"):
        read_weights(tmp_path / name)


def test_tied_and_cut_out_tensors_are_written_and_read_back(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
            self.other.weight = self.one.weight
            whole = torch.arange(12.0).reshape(4, 3)
            self.register_buffer("upper", whole[:2])
            self.register_buffer("column", whole[:, 1])
            self.register_buffer("none", torch.empty(0))

    model = Tied()
    save_weights(model, tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.safetensors")
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_one_clear_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is (damaged|no readable)"):
        resnet18(5, weights=str(tmp_path / name))


def test_a_cut_off_file_is_one_clear_error(tmp_path, backbone):
    torch.save(backbone, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        resnet18(5, weights=str(tmp_path / "w.pth"))


@pytest.mark.parametrize("value", [torch.zeros(3), {"epoch": 1}, {}, [torch.zeros(2)]])
def test_a_file_without_a_state_dict_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        resnet18(5, weights=str(tmp_path / "w.pth"))


def test_a_misspelt_name_is_told_from_a_missing_file():
    with pytest.raises(UserError, match="did you mean 'IMAGENET1K_V1'"):
        resnet18(5, weights="IMAGENET_V1")


def test_a_download_that_fails_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"fetch https://\S+resnet18\S+\.pth .* model.weights=FILE") as error:
        resnet18(5, weights="IMAGENET1K_V1")
    # Put there as the message says, but damaged.
    place = re.search(r"put it there: (\S+),", str(error.value))[1]
    Path(place).write_bytes(b"PK half")
    with pytest.raises(UserError, match=rf"{place} is damaged"):
        resnet18(5, weights="IMAGENET1K_V1")
