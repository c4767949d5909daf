"""Steps per second on a tiny model, where the loop is the cost: `python benchmarks/loop_overhead.py [--runs N]`.

A 512 -> 37 linear layer learns from 16,384 vectors in memory, in batches of 64, with AdamW under one_cycle, in float32.
expkit writes a real run folder with the traces of all hyperparameters. The bare loop draws the same kind of batches
and sets lr and momentum at each step, but records nothing; it runs with each of torch's forms of AdamW. Lightning and
fastai run with logger, checkpoints and progress bar off; fastai and expkit validate 64 vectors after each epoch. Each
run is a process of its own, which trains one epoch to warm up and is then timed over four.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from turns import in_turns, print_rates

ITEMS, BATCH, FEATURES, CLASSES, LR = 16_384, 64, 512, 37, 1e-3


def vectors() -> tuple[Any, Any]:
    """The training set: features and labels."""
    import torch

    torch.manual_seed(0)
    return torch.randn(ITEMS, FEATURES), torch.randint(0, CLASSES, (ITEMS,))


def expkit(epochs: int) -> float:
    """Seconds from the first step to the closed run folder."""
    from torch import nn

    from expkit import optim, sched, trainer
    from expkit.feed.loading import TensorLoader
    from expkit.model.classifier import LayerGroup
    from expkit.record.recorder import Recorder
    from expkit.run_folder import RunFolder
    from expkit.transfer import Phase

    features, labels = vectors()
    model = nn.Sequential(nn.Linear(FEATURES, CLASSES))
    model.layer_groups = [LayerGroup("head", (model[0],))]
    train = TensorLoader(features, labels, batch_size=BATCH, seed=0, train=True)
    valid = TensorLoader(features[:BATCH], labels[:BATCH], batch_size=BATCH, seed=0, train=False)
    loop = trainer.default(model, optim.adam(model, lr=LR), CLASSES, 0, precision="fp32")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with closing(Recorder(RunFolder(Path(folder), "loop_overhead"), epochs * train.batches)) as recorder:
            loop.observe([recorder])
            loop.fit(Phase("train", epochs), sched.one_cycle([LR], epochs), train, valid)
        return time.perf_counter() - start


def bare(epochs: int, **form: bool) -> float:
    """Seconds of a plain loop, with AdamW in the given form."""
    import torch
    from torch.nn import functional as F

    features, labels = vectors()
    model = torch.nn.Linear(FEATURES, CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), LR, **form)
    (group,) = optimizer.param_groups
    steps, step = epochs * ITEMS // BATCH, 0
    start = time.perf_counter()
    for _ in range(epochs):
        for chosen in torch.randperm(ITEMS).split(BATCH):
            group["lr"], momentum = one_cycle(step / steps)
            group["betas"] = (momentum, 0.99)
            F.cross_entropy(model(features.index_select(0, chosen)), labels.index_select(0, chosen)).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    return time.perf_counter() - start


def one_cycle(t: float) -> tuple[float, float]:
    """Learning rate and momentum at progress t."""
    if t < 0.25:
        rise = (1 + math.cos(math.pi * (1 - t / 0.25))) / 2
        return LR * (0.04 + 0.96 * rise), 0.95 - 0.1 * rise
    fall = (1 + math.cos(math.pi * (1 - (t - 0.25) / 0.75))) / 2
    return LR * (1 - fall), 0.85 + 0.1 * fall


def lightning(epochs: int) -> float:
    """Seconds of `Trainer.fit`."""
    import lightning
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Linear(FEATURES, CLASSES)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = F.cross_entropy(self.model(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), LR)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * ITEMS // BATCH)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    loader = DataLoader(TensorDataset(*vectors()), BATCH, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    start = time.perf_counter()
    trainer.fit(Module(), loader)
    return time.perf_counter() - start


def fastai(epochs: int) -> float:
    """Seconds of `fit_one_cycle`."""
    import torch
    from fastai.basics import DataLoaders
    from fastai.callback.schedule import Learner  # the import adds fit_one_cycle
    from torch.utils.data import TensorDataset

    features, labels = vectors()
    train, valid = TensorDataset(features, labels), TensorDataset(features[:BATCH], labels[:BATCH])
    learner = Learner(
        DataLoaders.from_dsets(train, valid, bs=BATCH),
        torch.nn.Linear(FEATURES, CLASSES),
        loss_func=torch.nn.CrossEntropyLoss(),
    )
    with learner.no_bar(), learner.no_logging():
        start = time.perf_counter()
        learner.fit_one_cycle(epochs, LR)
        return time.perf_counter() - start


CONTESTANTS: dict[str, Callable[[int], float]] = {
    "expkit": expkit,
    "bare, fused AdamW": lambda epochs: bare(epochs, fused=True),
    "bare, foreach AdamW": lambda epochs: bare(epochs, foreach=True),
    "bare, AdamW as torch chooses": bare,
    "lightning": lightning,
    "fastai": fastai,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only", choices=CONTESTANTS, help="one of them, once, in this process")
    options = parser.parse_args()
    if options.only:
        CONTESTANTS[options.only](1)
        print(options.epochs * (ITEMS // BATCH) / CONTESTANTS[options.only](options.epochs))
    else:
        found = in_turns(__file__, list(CONTESTANTS), options.runs, "--epochs", str(options.epochs))
        print_rates("steps/s", found, "expkit")


if __name__ == "__main__":
    main()
