"""Images per second of evaluating JPEGs: `python benchmarks/evaluate.py [--runs N] [--images N] [--size N]`.

resnet18 with random weights at 128 px, batches of 64, all cores. expkit does what `task=evaluate` does: the model over
the images with their losses, every score, 1000 bootstrap samples. The bare forward pass is the same model over the same
loader in the same precision, and keeps nothing but the logits. The images are those that image_training.py makes, 500
files of which each is listed as often as the number asks.

Each run is a process of its own, timed from the making of the loader to the last score; 64 images warm it up.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from image_training import CLASSES, make_tree
from turns import in_turns, print_rates

FILES, BATCH, WARM_UP = 500, 64, 64


def parts(root: Path, images: int, size: int) -> tuple[Any, Any]:
    """The model, and so many images."""
    import numpy as np
    from safetensors.torch import save_file

    from expkit import data, model
    from expkit.trained.classifier import Trained
    from expkit.trainer.precision import is_native, pick_device

    precision = "bf16" if is_native(pick_device("cpu")) else "fp32"
    source = data.folders(root=str(root)).train
    rows = np.resize(np.arange(len(source)), images)
    description = {
        "model": {"_target_": "expkit.model.resnet18"}, "augment": {"_target_": "expkit.augment.none"}, "own": [],
        "image_size": size, "reading": {}, "precision": precision, "features": None,
        "classes": [f"class_{number:02d}" for number in range(CLASSES)],
    }  # fmt: skip
    weights = root / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.resnet18(CLASSES).state_dict().items()}, weights)
    return Trained(description, weights), source.subset(rows)


def expkit(trained: Any, images: Any) -> None:
    """Everything that is scored."""
    from expkit.trained.evaluations import score
    from expkit.trained.measuring import Measuring

    score(Measuring(trained, BATCH, "auto", 0), images, "test", top_k=5, resamples=1000)


def bare(trained: Any, images: Any) -> None:
    """The forward pass alone."""
    import torch

    from expkit.feed.loading import make_loader

    loader = make_loader(images, trained.transforms, batch_size=BATCH, seed=0, train=False)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=trained.half):
        torch.cat([trained.model(batch.images).float() for batch in loader])
    loader.close()


WAYS = {"expkit": expkit, "bare forward pass": bare}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--only", choices=WAYS)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    if asked.only:
        from expkit.trainer.memory import keep_freed

        keep_freed()
        trained, images = parts(asked.root, asked.images, asked.size)
        WAYS[asked.only](trained, replace(images, rows=images.rows[:WARM_UP], labels=images.labels[:WARM_UP]))
        start = time.perf_counter()
        WAYS[asked.only](trained, images)
        print(asked.images / (time.perf_counter() - start))
        return
    with tempfile.TemporaryDirectory() as place:
        root = asked.root or Path(place)
        make_tree(root, FILES)
        own = ("--root", str(root), "--images", str(asked.images), "--size", str(asked.size))
        print_rates("images/s", in_turns(__file__, list(WAYS), asked.runs, *own), "expkit")


if __name__ == "__main__":
    main()
