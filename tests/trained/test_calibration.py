import numpy as np
import pytest
import torch

from expkit.trained.calibration import temperature_of


def test_the_temperature_that_made_logits_too_sure_is_found_again():
    draw = torch.Generator().manual_seed(0)
    honest = torch.randn(20_000, 5, generator=draw) * 2
    labels = torch.multinomial(honest.softmax(dim=1), 1, generator=draw)[:, 0]
    assert temperature_of(honest, labels) == pytest.approx(1, abs=0.03)
    assert temperature_of(honest * 3, labels) == pytest.approx(3, abs=0.1)
    assert temperature_of(honest / 2, labels) == pytest.approx(0.5, abs=0.02)


def test_it_is_the_least_cross_entropy():
    draw = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(300, 4, generator=draw), torch.randint(0, 4, (300,), generator=draw)
    logits[torch.arange(300), labels] += 1
    found = temperature_of(logits, labels)

    def loss(temperature):
        return torch.nn.functional.cross_entropy(logits.double() / temperature, labels).item()

    assert all(loss(found) < loss(found * factor) for factor in np.array([0.99, 1.01, 0.5, 2.0]))


def test_images_that_are_all_told_rightly_or_by_chance_have_none():
    labels = torch.arange(3).repeat(5)
    assert temperature_of(torch.eye(3)[labels], labels) is None
    assert temperature_of(torch.eye(3)[(labels + 1) % 3], labels) is None
