"""Dropout against torch's: the same distribution, the same gradients, nothing where it must do nothing."""

import pytest
import torch
from torch import nn

from expkit.model.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_a_share_is_dropped_and_the_rest_scaled_so_that_the_mean_stays(share):
    torch.manual_seed(0)
    dropped = Dropout(share)(torch.ones(1000, 1000))
    zeros = (dropped == 0).float().mean().item()
    assert zeros == pytest.approx(share, abs=0.002)  # four standard deviations of a million draws at 0.5
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - share)])


def test_each_number_is_dropped_by_itself():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(2000, 500)) != 0).float()
    assert kept.mean(0).sub(0.5).abs().max() < 0.06  # five standard deviations
    assert kept.mean(1).sub(0.5).abs().max() < 0.12
    assert torch.corrcoef(kept[:, :20].T).triu(1).abs().max() < 0.12


def test_the_gradient_passes_where_the_number_did():
    vectors = torch.rand(8, 16, requires_grad=True)
    dropped = Dropout(0.25)(vectors)
    dropped.sum().backward()
    assert torch.allclose(vectors.grad, (dropped / vectors).detach())


def test_the_seed_says_what_is_dropped():
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(4, 100))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize(("share", "training"), [(0.5, False), (0.0, True)])
def test_nothing_is_dropped_in_validation_or_without_a_share(share, training):
    vectors = torch.rand(8, 16)
    assert torch.equal(Dropout(share).train(training)(vectors), vectors)


def test_a_share_of_all_leaves_nothing():
    assert torch.equal(Dropout(1.0)(torch.rand(8, 16)), torch.zeros(8, 16))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_are_dropped_as_torch_does(dtype):
    vectors = torch.rand(8, 16, dtype=dtype)
    found = []
    for module in (Dropout(0.25), nn.Dropout(0.25)):
        torch.manual_seed(0)
        found.append(module(vectors))
    assert torch.equal(*found)
    assert found[0].dtype == dtype
