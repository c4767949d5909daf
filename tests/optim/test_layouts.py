"""What every optimizer keeps of a convolutional network comes back to the bit: by a resume and by the LR finder."""

import pytest
import torch
from torch import nn

from expkit import optim
from expkit.feed.loading import TensorLoader
from expkit.lr_finder.search import search_lr
from expkit.model.classifier import LayerGroup
from expkit.optim.by_name import UNFIT, is_optimizer
from expkit.sched import one_cycle
from expkit.trainer import default
from expkit.trainer.loop import Stopped, Trainer
from expkit.transfer import Phase
from tests.optim.test_optimizer import BUILDS
from tests.optim.test_state import through_a_file
from tests.trainer.test_loop import StopAt, equal, weights

STOCK = sorted(name for name, kind in vars(torch.optim).items() if is_optimizer(kind) and name not in (*UNFIT, "Muon"))
ALL = {name: build for name, build in BUILDS.items() if name != "torch"} | {
    name: lambda model, name=name: optim.torch(model, name=name) for name in STOCK
}


class Convolutions(nn.Module):
    """Wide, pointwise and depthwise convolutions, and a single number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU()),
            *(nn.Conv2d(7, 13, 1), nn.Conv2d(13, 13, 3, groups=13), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.head = nn.Linear(13, 3)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.layer_groups = [
            LayerGroup("body", (self.body,)),
            LayerGroup("head", (self.head, nn.ParameterList([self.scale]))),
        ]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images.float() / 255)) * self.scale


def images(train: bool) -> TensorLoader:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 9, 9, 3), dtype=torch.uint8, generator=draw)
    return TensorLoader(pixels, torch.arange(40) % 3, batch_size=8, seed=3, train=train)


def trainer_of(build) -> Trainer:
    model = Convolutions()
    return default(model, build(model), 3, 3, device="cpu", precision="fp32")


def fit(trainer: Trainer) -> None:
    trainer.fit(Phase("all", 2), one_cycle([0.01] * 2, 2), images(True), images(False))


def layouts(trainer: Trainer) -> dict[str, tuple[int, ...]]:
    state = trainer.optimizer.state_dict()["state"]
    return {
        f"{name} {key}": value.stride()
        for name, values in state.items()
        for key, value in values.items()
        if isinstance(value, torch.Tensor)
    }


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_a_resume_in_the_middle_gives_the_same_bits_and_layouts(build):
    whole, stopped, resumed = trainer_of(build), trainer_of(build), trainer_of(build)
    fit(whole)
    stopped.observe([StopAt(4)])
    with pytest.raises(Stopped):
        fit(stopped)
    resumed.load_state_dict(through_a_file(stopped.state_dict()))
    assert layouts(resumed) == layouts(stopped)
    fit(resumed)
    assert layouts(resumed) == layouts(whole)
    assert equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_the_lr_finder_puts_everything_back(build):
    plain, searched = trainer_of(build), trainer_of(build)
    for trainer in (plain, searched):
        trainer.prepare(Phase("all", 2))
    before = layouts(searched)
    search_lr(searched, images(True), [0.01] * 2, num_it=6, end_lr=0.1)
    assert layouts(searched) == before
    for trainer in (plain, searched):
        fit(trainer)
    assert layouts(plain) == layouts(searched)
    assert equal(weights(plain), weights(searched))


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_what_an_optimizer_keeps_lies_where_the_parameters_lie(build):
    trainer = trainer_of(build)
    parameters = dict(trainer.model.named_parameters())
    for name, values in trainer.optimizer.state_dict()["state"].items():
        for value in values.values():
            if isinstance(value, torch.Tensor) and value.shape == parameters[name].shape != ():
                assert value.stride() == parameters[name].stride(), name
