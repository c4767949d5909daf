"""The small model and plain training loop that the reference values were made with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from expkit.optim.optimizer import Optimizer

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"


def golden(name: str) -> Any:
    """A file of reference values, or a skip where it is not at hand."""
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"needs the reference values ../shared/golden/{name}")
    return json.loads(path.read_text())


class Group(NamedTuple):
    """A layer group."""

    name: str
    modules: tuple[nn.Module, ...]


class Tiny(nn.Module):
    """Linear without bias, batch norm, two more linears: three layer groups."""

    def __init__(self, inputs: int = 6, width: int = 8, outputs: int = 3) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.b = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.c = nn.Linear(width, outputs)

    @property
    def layer_groups(self) -> list[Group]:
        return [Group("a", (self.a,)), Group("b", (self.b,)), Group("c", (self.c,))]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.c(self.b(self.a(x)))
        return logits


def tiny_from(init: dict[str, list[float]]) -> Tiny:
    model = Tiny()
    model.load_state_dict({name: torch.tensor(init[name]).view_as(old) for name, old in model.state_dict().items()})
    return model


def fit(
    model: Tiny, optimizer: Optimizer, schedules: Any, data: tuple[Tensor, Tensor], epochs: int
) -> tuple[list[list[float]], list[float]]:
    """Train in batches of 4 in order; the traces of all hyperparameters and the smoothed, debiased losses."""
    set_hypers = optimizer.follow(schedules)
    x, y = data
    batches = len(x) // 4
    traces, losses, smooth = [], [], 0.0
    for step in range(epochs * batches):
        epoch, batch = divmod(step, batches)
        set_hypers((epoch + batch / batches) / epochs)
        traces.append(optimizer.read())
        optimizer.set_train_mode(model)
        rows = slice(4 * batch, 4 * batch + 4)
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        smooth = 0.98 * smooth + 0.02 * loss.item()
        losses.append(smooth / (1 - 0.98 ** (step + 1)))
    return traces, losses


class Pair(nn.Module):
    """Two bare parameters in one group, to be stepped by given gradients."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor(first, dtype=torch.float32))
        self.second = nn.Parameter(torch.tensor(second, dtype=torch.float32))

    @property
    def layer_groups(self) -> list[Group]:
        return [Group("all", (self,))]


def step_through(
    case: Any, build: Callable[[Pair], Optimizer], hypers: tuple[str, ...] = ("lr", "mom")
) -> list[list[float]]:
    """Step by the gradients of a reference case; all parameters, flat, after each step."""
    model = Pair(*case["init"])
    optimizer = build(model)
    after = []
    for i, grads in enumerate(case["grads"]):
        for name in hypers:
            optimizer.set(name, [case[name][i]])
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            parameter.grad = torch.tensor(grad)
        optimizer.step()
        after.append(torch.cat([p.detach().flatten() for p in model.parameters()]).tolist())
    return after
