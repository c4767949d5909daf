"""Images per second of training resnet18 on JPEGs: `python benchmarks/image_training.py [--runs N] [--images N]`.

224 px, batches of 32, all layers, AdamW, augmentation, all cores; the images are made here, 300 to 500 pixels a side.
expkit runs as `augment=side_on` with everything else automatic: precision, memory format, workers. fastai's
`vision_learner` (Resize(256), aug_transforms) and a Lightning module (RandomResizedCrop, flip) run at their defaults,
with one worker a core. The bare loop is torchvision's resnet18 in its best settings, bfloat16 autocast, channels_last
and fused AdamW, on normalized float batches that lie in memory: it decodes, augments and converts nothing. "expkit from
memory" is expkit's loop on uint8 batches that lie in memory, so that the price of decoding beside training shows.

Each run is a process of its own. It trains on a few images to warm up and is then timed over an epoch, from the call
that fits to its return: the start of the workers and the validation of eight images included, for each of them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turns import in_turns, print_rates

SIZE, BATCH, CLASSES, LR = 224, 32, 37, 1e-3
WARM_UP = BATCH
VALID = 8


def make_tree(root: Path, images: int) -> None:
    """Pets-like JPEGs in train/<class>/ and valid/<class>/: smooth shapes with noise, brighter from class to class."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(images + VALID):
        part, label = ("train", number % CLASSES) if number < images else ("valid", (number - images) % CLASSES)
        folder = root / part / f"class_{label:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        height, width = (int(side) for side in draw.integers(300, 500, 2))
        shapes = Image.fromarray(draw.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8))
        pixels = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        pixels = pixels + draw.normal(0, 12, pixels.shape).astype(np.int16) + (label * 3 - 50)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)


def expkit(root: Path, images: int) -> float:
    """Seconds of `Trainer.fit` on the files."""
    from expkit import augment, data
    from expkit.feed.loading import make_loader

    source, transforms = data.folders(root=str(root)), augment.side_on(SIZE)
    train, valid = (
        make_loader(part, transforms, batch_size=BATCH, seed=0, train=part is source.train)
        for part in (source.train, source.valid)
    )
    return expkit_fit(train, valid)


def expkit_from_memory(root: Path, images: int) -> float:
    """Seconds of `Trainer.fit` on pixels in memory."""
    import torch

    from expkit.feed.loading import TensorLoader

    pixels, labels = torch.randint(0, 256, (images, SIZE, SIZE, 3), dtype=torch.uint8), torch.arange(images) % CLASSES
    train = TensorLoader(pixels, labels, batch_size=BATCH, seed=0, train=True)
    return expkit_fit(train, TensorLoader(pixels[:VALID], labels[:VALID], batch_size=BATCH, seed=0, train=False))


def expkit_fit(train: Any, valid: Any) -> float:
    """Seconds of one epoch by expkit's trainer as its config has it."""
    from contextlib import closing

    from expkit import model, optim, sched, trainer
    from expkit.transfer import Phase

    net = model.resnet18(CLASSES)
    loop = trainer.default(net, optim.adam(net, lr=LR), CLASSES, 0, SIZE)
    with closing(train), closing(valid):
        start = time.perf_counter()
        loop.fit(Phase("train", 1), sched.one_cycle([LR] * len(net.layer_groups), 1), train, valid)
        return time.perf_counter() - start


def bare(root: Path, images: int) -> float:
    """Seconds of a plain loop over batches in memory."""
    import torch
    from torchvision.models import resnet18

    model = resnet18(num_classes=CLASSES).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), LR, fused=True)
    pixels = [torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last) for _ in range(4)]
    labels = torch.randint(0, CLASSES, (BATCH,))
    start = time.perf_counter()
    for step in range(images // BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(pixels[step % len(pixels)]), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model.eval()(pixels[0][:VALID])
    return time.perf_counter() - start


def lightning(root: Path, images: int) -> float:
    """Seconds of `Trainer.fit`."""
    import lightning
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    from torchvision.models import resnet18

    steps = images // BATCH

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = resnet18(num_classes=CLASSES)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("valid_loss", torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), LR)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    numbers = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    augmented = transforms.Compose([transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), *numbers])
    fixed = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(SIZE), *numbers])
    workers = os.cpu_count() or 1
    files, held_out = ImageFolder(str(root / "train"), augmented), ImageFolder(str(root / "valid"), fixed)
    loader = DataLoader(files, BATCH, shuffle=True, num_workers=workers, drop_last=True)
    valid = DataLoader(held_out, BATCH, num_workers=workers)
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
    )
    start = time.perf_counter()
    trainer.fit(Module(), loader, valid)
    return time.perf_counter() - start


def fastai(root: Path, images: int) -> float:
    """Seconds of `fit_one_cycle`."""
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, aug_transforms, resnet18, vision_learner

    loaders = ImageDataLoaders.from_folder(
        root, train="train", valid="valid", item_tfms=Resize(256), batch_tfms=aug_transforms(size=SIZE), bs=BATCH
    )
    learner = vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy)
    learner.unfreeze()
    with learner.no_bar(), learner.no_logging():
        start = time.perf_counter()
        learner.fit_one_cycle(1, LR)
        return time.perf_counter() - start


CONTESTANTS: dict[str, Callable[[Path, int], float]] = {
    "expkit": expkit,
    "expkit from memory": expkit_from_memory,
    "bare loop": bare,
    "lightning": lightning,
    "fastai": fastai,
}


def compare(runs: int, images: int) -> None:
    images -= images % BATCH  # only whole batches train
    with tempfile.TemporaryDirectory() as folder:
        make_tree(Path(folder, "warm_up"), WARM_UP)
        make_tree(Path(folder, "timed"), images)
        os.environ["EXPKIT_CACHE"] = folder
        arguments = ("--root", folder, "--images", str(images))
        print_rates("images/s", in_turns(__file__, list(CONTESTANTS), runs, *arguments), "expkit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--only", choices=CONTESTANTS, help="one of them, once, in this process, on a tree at --root")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        task = CONTESTANTS[options.only]
        task(options.root / "warm_up", WARM_UP)
        print(options.images / task(options.root / "timed", options.images))
    else:
        compare(options.runs, options.images)


if __name__ == "__main__":
    main()
