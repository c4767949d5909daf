"""Weights that several layers share: they train, are saved, frozen and folded like any others."""

import torch
from safetensors.torch import load_file
from torch import nn

from expkit.features.folding import fold
from expkit.feed.loading import TensorLoader
from expkit.model.classifier import Classifier, LayerGroup
from expkit.model.head import Pool
from expkit.model.weights import save_weights
from expkit.optim import adam
from expkit.sched import one_cycle
from expkit.trainer import default
from expkit.transfer import Phase


def tied() -> Classifier:
    """A convolution used twice under two names, and a linear layer of the body that the head shares."""
    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)),
        *(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)),
    )
    body[4].weight = body[2].weight
    head = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    head[2].weight = head[0].weight
    head[0].bias = body[0].bias
    groups = [LayerGroup("early", (body[0], body[1], body[2], body[3])), LayerGroup("late", (body[4], body[5]))]
    return Classifier(body, Pool("avg"), head, body_groups=groups, mean=(0, 0, 0), std=(1, 1, 1))


def test_tied_weights_train_and_stay_tied(tmp_path):
    model = tied()
    trainer = default(model, adam(model), 6, 0, device="cpu", precision="fp32", image_size=8)
    pixels = torch.randint(0, 256, (24, 8, 8, 3), dtype=torch.uint8)
    loader = TensorLoader(pixels, torch.arange(24) % 6, batch_size=8, seed=0, train=True)
    before = model.body[2].weight.detach().clone()
    for phase in (Phase("head", 1, trains=1), Phase("all", 1)):
        trainer.fit(phase, one_cycle([0.01] * 3, 1), loader, loader)
    assert model.body[2].weight is model.body[4].weight
    assert not torch.equal(model.body[2].weight, before)
    save_weights(model, tmp_path / "weights.safetensors")
    other = tied()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_a_shared_convolution_is_not_folded():
    body = tied().body
    for norm in (body[1], body[3], body[5]):
        nn.init.uniform_(norm.running_var, 0.5, 2)
    images = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        expected = body.eval()(images)
        assert fold(body) == 1  # the first, which no other layer shares
        assert torch.allclose(body(images), expected, atol=1e-6)
