"""The LR finder's search: some training steps at ever higher rates, after which everything is as it was before."""

import copy
import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from expkit.config.lr_find import LrFind
from expkit.feed.loading import Loader
from expkit.interrupt import Stopped
from expkit.lr_finder.suggestions import Curve, suggestions
from expkit.record.recorder import Smoothed
from expkit.run_folder import RunFolder
from expkit.sched import exponential
from expkit.trainer.loop import Trainer

log = logging.getLogger(__name__)

DIVERGED = 4
"""The search ends where the smoothed loss exceeds its best so many times."""


def search_lr(
    trainer: Trainer,
    train: Loader,
    peaks: Sequence[float],
    *,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    num_it: int = 100,
    watch: Callable[[int, float, float], None] | None = None,
) -> Curve:
    """Train up to `num_it` steps while the learning rate grows exponentially from `start_lr` towards `end_lr`.

    It is the head's rate; other layer groups get theirs in proportion to `peaks`, one per group. All else is as the
    optimizer holds it, frozen groups too. The search ends early where the loss diverges or becomes NaN. Training
    batches come from where training stands, and from further epochs where one is too short. `watch` is called after
    each step with its number, learning rate and smoothed loss.

    Afterwards model, optimizer, random state and the trainer's state are what they were, bit by bit.
    Raises Stopped, with all that restored, where the trainer is asked to stop.
    """
    schedule, shares = exponential(start_lr, end_lr), [peak / peaks[-1] for peak in peaks]
    epoch = trainer.state.epochs
    batches = train.stream(epoch, 0, epoch - (-num_it // train.batches))
    smoothed, best = Smoothed(), math.inf
    points: list[tuple[float, float, float]] = []
    with unchanged(trainer):
        trainer.optimizer.set_train_mode(trainer.model)
        for number in range(num_it):
            batch = trainer.next_of(batches)
            lr = schedule(number / num_it)
            trainer.optimizer.set("lr", [lr * share for share in shares])
            loss = trainer.step(batch).item()
            trainer.state.step += 1  # dropout is drawn from it
            mean = smoothed.add(loss)
            points.append((lr, loss, mean))
            best = min(best, mean)
            if watch is not None:
                watch(number, lr, mean)
            if trainer.stop.signal:
                raise Stopped
            if not math.isfinite(mean) or mean > DIVERGED * best:
                break
    lrs, losses, means = np.array(points).T
    return Curve(lrs, losses, means, num_it)


@contextmanager
def unchanged(trainer: Trainer) -> Iterator[None]:
    """Let the block train, then put model, optimizer, random state and the trainer's count of steps back."""
    model, optimizer, step = trainer.model, trainer.optimizer, trainer.state.step
    tensors = {name: tensor.detach().clone() for name, tensor in named_tensors(model)}
    modes = [(module, module.training) for module in model.modules()]
    trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    saved = copy.deepcopy(optimizer.state_dict())
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[trainer.device] if trainer.device.type == "cuda" else []):
        try:
            yield
        finally:
            optimizer.zero_grad()
            optimizer.load_state_dict(saved)
            with torch.no_grad():
                for name, tensor in named_tensors(model):
                    tensor.copy_(tensors[name])
            for module, mode in modes:
                module.training = mode
            for parameter, trains in trained:
                parameter.requires_grad_(trains)
            trainer.state.step = step
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def named_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """All parameters and buffers, also those that a state dict leaves out."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def find_lr(
    trainer: Trainer,
    train: Loader,
    peaks: Sequence[float],
    settings: LrFind,
    folder: RunFolder,
    *,
    name: str | None = None,
    watch: Callable[[int, float, float], None] | None = None,
) -> float:
    """The head's learning rate that a search with `settings` suggests, times `settings.scale`.

    `folder` gets the curve, the suggestions and their picture under `name`; None: lr_find, or lr_find_2, ... after the
    searches that the trainer's state knows of. `peaks` and `watch` are as in `search_lr`.
    Raises UserError where the curve suggests nothing, and Stopped where the trainer is asked to stop.
    """
    from expkit.lr_finder.record import write_search  # draws, and matplotlib takes a while to import

    earlier = len(trainer.state.found)
    name = name or (f"lr_find_{earlier + 1}" if earlier else "lr_find")
    curve = search_lr(
        trainer,
        train,
        peaks,
        start_lr=settings.start_lr,
        end_lr=settings.end_lr,
        num_it=settings.num_it,
        watch=watch,
    )
    found = suggestions(curve, settings.suggest)
    lr = write_search(folder, name, curve, found, settings)
    told = ", ".join(f"{way} {rate:.3g}" for way, rate in found.items())
    log.info("%s: %s; lr_find.suggest=%s, lr_find.scale=%g: %.3g", name, told, settings.suggest, settings.scale, lr)
    return lr
