"""What tells one trained model from another."""

import json
from hashlib import blake2b

import torch

from expkit.trained.classifier import Trained


def identity_of(trained: Trained) -> str:
    """Hex digits over all that decides about predictions: weights, transform, classes, calibration, precision."""
    digest = blake2b(json.dumps(trained.description, sort_keys=True, default=repr).encode(), digest_size=16)
    digest.update(repr((trained.half, trained.temperature)).encode())
    for name, tensor in trained.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
