"""Predictions: `python benchmarks/predict.py [--runs N] [--images N] [--size N] [--part NAME] [--root PETS]`.

Speed: images per second of resnet18 over N JPEGs (links to the photos of PETS, in the layout of Oxford-IIIT Pets), from
files to rows of CSV on the disk, beside the bare forward pass over the same images by the same loader, of which only
the likeliest class is kept, and beside fastai's `test_dl` and `get_preds`, which writes no file. Ultralytics' `predict`
has no resnet18: its network is YOLOv8n-cls, so that it stands beside a bare forward pass of its own, over the batches
of its own loader, and only what it takes besides that can be compared.

Memory: the peak resident size of predicting 1,000 and 20,000 of them, each in a process of its own.

One: milliseconds of a single photo by `Trained.predict`, from its path to a row with its class, beside the same reading
and the bare forward pass, in turns within one process; medians.

Each run is a process of its own, warmed up on a few images; imports and the building of the model are not counted.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from turns import environment, in_turns, print_rates, undisturbed

PETS = Path(__file__).parents[2] / "shared" / "data" / "pets_mini"
IMAGES, SIZE, BATCH, CLASSES, WARM_UP = 10_000, 224, 64, 37, 128
FEW, MANY = 1_000, 20_000


def links(root: Path, folder: Path, count: int) -> Path:
    """A folder with so many names for the photos."""
    photos = sorted((root / "images").glob("*.jpg"))
    folder.mkdir()
    for number in range(count):
        photo = photos[number % len(photos)]
        (folder / f"{number:06}.jpg").symlink_to(photo.resolve())
    return folder


def trained(size: int, place: Path) -> Any:
    """A resnet18 as a run leaves it; random weights are as fast as any."""
    from expkit.build import build
    from expkit.model.weights import save_weights
    from expkit.trained.classifier import Trained
    from expkit.trainer.precision import is_native, pick_device

    device = pick_device("auto")
    model = {"_target_": "expkit.model.resnet18", "weights": None}
    save_weights(build(model, CLASSES, group="model"), place / "weights")
    description = {
        "model": model,
        "augment": {"_target_": "expkit.augment.none"},
        "own": [],
        "image_size": size,
        "reading": {},
        "precision": "bf16" if is_native(device) else "fp32",
        "features": None,
        "classes": [f"breed {number}" for number in range(CLASSES)],
    }
    return Trained(description, place / "weights", str(device))


def by_expkit(folder: Path, size: int, place: Path) -> Any:
    """From files to rows of CSV, as `task=predict` does it."""
    from expkit.trained.output import output_to
    from expkit.trained.predictions import predictions
    from expkit.trained.sources import source_of
    from expkit.trained.tables import Wanted

    classifier = trained(size, place)
    wanted = Wanted(classifier.classes)

    def predict(source: Path) -> None:
        images = source_of(str(source))
        with output_to(str(place / f"{source.name}.csv"), classifier, wanted) as output:
            for batch in predictions(classifier, images, output.rest(images.names()), batch_size=BATCH):
                output.add(batch, wanted.columns(batch.probabilities))
            output.finish()

    return predict


def by_bare(folder: Path, size: int, place: Path) -> Any:
    """The forward pass alone, with the loader of training."""
    import numpy as np
    import torch

    from expkit.data.files import ImageFiles
    from expkit.data.packed import Packed
    from expkit.feed.loading import make_loader

    classifier = trained(size, place)

    @torch.inference_mode()
    def predict(source: Path) -> None:
        names = Packed.from_names(path.name.encode() for path in sorted(source.iterdir()))
        files = ImageFiles(str(source), names, np.arange(len(names)), np.zeros(len(names), np.int64))
        loader = make_loader(files, classifier.transforms, batch_size=BATCH, seed=0, train=False)
        found = []
        for batch in loader:
            with torch.autocast(classifier.device.type, torch.bfloat16, enabled=classifier.half):
                found.append(classifier.model(batch.images.to(classifier.device)).argmax(dim=1).cpu())
        loader.close()
        assert len(torch.cat(found)) == len(names)

    return predict


def by_fastai(folder: Path, size: int, place: Path) -> Any:
    """fastai as its documentation has it."""
    from fastai.vision.all import ImageDataLoaders, Resize, ResizeMethod, resnet18, vision_learner

    files = sorted(folder.iterdir())[: 2 * BATCH]
    loaders = ImageDataLoaders.from_lists(
        folder,
        files,
        [f"breed {number % CLASSES}" for number in range(len(files))],
        item_tfms=Resize(size, method=ResizeMethod.Crop),
        bs=BATCH,
    )
    learner = vision_learner(loaders, resnet18, pretrained=False)

    def predict(source: Path) -> None:
        with learner.no_bar(), learner.no_logging():
            loader = learner.dls.test_dl(sorted(source.iterdir()), bs=BATCH)
            found, _ = learner.get_preds(dl=loader)
        assert len(found) == len(list(source.iterdir()))

    return predict


def by_ultralytics(folder: Path, size: int, place: Path) -> Any:
    """Ultralytics as its documentation has it for many files, with random weights."""
    from ultralytics import YOLO

    model = YOLO("yolov8n-cls.yaml", task="classify", verbose=False)

    def predict(source: Path) -> None:
        results = model.predict(str(source), imgsz=size, batch=BATCH, stream=True, verbose=False)
        assert sum(result.probs.top1 >= 0 for result in results) == len(list(source.iterdir()))

    return predict


def by_bare_ultralytics(folder: Path, size: int, place: Path) -> Any:
    """The forward pass of Ultralytics' network alone, with its own loader."""
    import torch
    from ultralytics import YOLO

    model = YOLO("yolov8n-cls.yaml", task="classify", verbose=False)
    list(model.predict(str(folder), imgsz=size, batch=BATCH, stream=True, verbose=False))
    predictor = model.predictor

    @torch.inference_mode()
    def predict(source: Path) -> None:
        predictor.setup_source(str(source))
        found = []
        for _, photos, _ in predictor.dataset:
            outputs = predictor.model(predictor.preprocess(photos))
            found.append((outputs[0] if isinstance(outputs, (list, tuple)) else outputs).argmax(dim=1).cpu())
        assert len(torch.cat(found)) == len(list(source.iterdir()))

    return predict


def one_photo(root: Path, size: int, turns: int = 60) -> tuple[float, float]:
    """Milliseconds of one photo: as it is predicted, and read and passed forward alone."""
    import torch

    with tempfile.TemporaryDirectory() as made:
        classifier = trained(size, Path(made))
    photo = min((root / "images").glob("*.jpg"))

    @torch.inference_mode()
    def bare() -> None:
        pixels = classifier.pixels(str(photo)).permute(2, 0, 1)[None]
        with torch.autocast(classifier.device.type, torch.bfloat16, enabled=classifier.half):
            classifier.model(pixels.to(classifier.device)).argmax(dim=1).item()

    seconds: dict[Callable[[], object], list[float]] = {partial(classifier.predict, str(photo)): [], bare: []}
    for turn in range(turns):
        for way, found in seconds.items():
            start = time.perf_counter()
            way()
            if turn >= turns // 10:
                found.append(time.perf_counter() - start)
    own, alone = (1000 * statistics.median(found) for found in seconds.values())
    return own, alone


CONTESTANTS = {
    "expkit": by_expkit,
    "bare": by_bare,
    "fastai": by_fastai,
    "ultralytics": by_ultralytics,
    "bare ultralytics": by_bare_ultralytics,
}


def measure(name: str, root: Path, images: int, size: int) -> tuple[float, float]:
    """Images per second, and the peak resident size in megabytes."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        few = links(root, place / "few", WARM_UP)
        many = links(root, place / "many", images)
        predict = CONTESTANTS[name](few, size, place)
        predict(few)
        start = time.perf_counter()
        predict(many)
        seconds = time.perf_counter() - start
    return images / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--part", choices=["speed", "memory", "one"])
    parser.add_argument("--root", type=Path, default=PETS)
    parser.add_argument("--without", nargs="*", default=[], choices=list(CONTESTANTS)[1:])
    parser.add_argument("--only", choices=[*CONTESTANTS, "memory", "one"])
    given = parser.parse_args()
    if given.only == "one":
        own, alone = one_photo(given.root, given.size)
        print(f"\none photo {own:.2f} ms, read and passed forward alone {alone:.2f} ms: {own / alone:.2f} x")
        return
    if given.only:
        rate, peak = measure("expkit" if given.only == "memory" else given.only, given.root, given.images, given.size)
        print(peak if given.only == "memory" else rate)
        return
    common = ("--size", str(given.size), "--root", str(given.root))
    if given.part in (None, "one"):
        command = [sys.executable, __file__, "--only", "one", *common]
        undisturbed(partial(subprocess.run, command, env=environment(), check=True))
    if given.part in (None, "speed"):
        names = [name for name in CONTESTANTS if name not in given.without]
        found = in_turns(__file__, names, given.runs, *common, "--images", str(given.images))
        print_rates("images/s", found, "expkit")
    if given.part in (None, "memory"):
        few, many = (
            in_turns(__file__, ["memory"], 1, *common, "--images", str(count))["memory"][0] for count in (FEW, MANY)
        )
        print(f"\npeak memory of {FEW} images {few:.0f} MB, of {MANY} images {many:.0f} MB: {many / few:.2f} x")


if __name__ == "__main__":
    sys.exit(main())
