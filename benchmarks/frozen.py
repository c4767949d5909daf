"""Frozen features: `python benchmarks/frozen.py [--runs N] [--part extraction|rows|recipe] [--root PETS]`.

Extraction: images per second of efficientnet_lite0 and resnet18 over the photos of PETS (in the layout of Oxford-IIIT
Pets; 224 px, eval mode, decode included), from files to rows on the disk, beside a bare loop: a plain eval-mode forward
pass in its best settings found (bfloat16 autocast, channels_last, inference mode, batches of 32 that one thread a core
decodes between the passes, with expkit's own decoder). The bare loop on one core is there to show what threads cost.

Rows: how fast a cached file is read back in order, and the peak memory (VmHWM, which counts mapped pages) of training
a head for an epoch on 1,000,000 synthetic rows of 1,024 bfloat16 numbers (2 GB), above that of training it on 1,000.

Recipe: `transfer=frozen_precompute` with efficientnet_lite0 for 20 epochs, seconds after the imports, with an empty
cache and again with that of the run before; one bare pass over the same images; and fastai, which trains a head on the
same frozen body with its own loaders, without augmentation (4 epochs are timed and counted as 20). Nobody tracks.

Each run is a process of its own, warmed up on a few images.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from turns import in_turns, print_rates

PETS = Path(__file__).parents[2] / "shared" / "data" / "pets_mini"
SIZE, BATCH, CLASSES, EPOCHS = 224, 32, 37, 20
FASTAI_EPOCHS = 4
"""So many are timed, and counted as EPOCHS: they are all alike, and 20 take many minutes."""
WARM_UP = 2
"""Images of each breed in each list that a contestant is warmed up on."""
ROWS, WIDTH = 1_000_000, 1024


def listed(root: Path) -> dict[str, bool]:
    """The name of each image in the official lists, and whether it is for validation."""
    lists = {"trainval.txt": False, "test.txt": True}
    lines = [(line, held) for name, held in lists.items() for line in (root / "annotations" / name).open()]
    return {line.split()[0]: held for line, held in lines}


def photos(root: Path, images: int | None = None) -> Any:
    """The first images, all by default, as expkit has them."""
    import numpy as np

    from expkit.data.files import ImageFiles
    from expkit.data.packed import Packed

    names = Packed.from_names(f"{name}.jpg".encode() for name in list(listed(root))[:images])
    return ImageFiles(str(root / "images"), names, np.arange(len(names)), np.zeros(len(names), np.int64))


def network(name: str) -> Any:
    """A model as its config has it, but without a download."""
    import torch

    from expkit import model

    torch.manual_seed(0)
    return getattr(model, name)(CLASSES, weights="imagenet" if name == "efficientnet_lite0" else None)


def precision(net: Any) -> Any:
    """The autocast that expkit chooses here, for all."""
    import torch

    from expkit.trainer.precision import computes_in_bf16

    return torch.bfloat16 if computes_in_bf16("auto", net, torch.device("cpu"), SIZE) else None


def expkit_extraction(name: str, root: Path, images: int | None = None) -> float:
    """Seconds from files to the rows of a complete cache entry; the body is built before."""
    import torch

    from expkit import augment
    from expkit.features import FeatureCache, Frozen

    net = network(name)
    identity = {"model": {"_target_": name}, "image_size": SIZE}
    frozen = Frozen(identity, lambda: (net, torch.device("cpu"), precision(net)))
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder))
        cache.body(frozen)
        start = time.perf_counter()
        cache.features(frozen, photos(root, images), augment.none(SIZE))
        return time.perf_counter() - start


def bare(name: str, root: Path, images: int | None = None, threads: int | None = None) -> float:
    """Seconds of a plain forward pass over all images, decode included."""
    import torch

    from expkit import augment
    from expkit.data.images.pace import cores
    from expkit.feed.workers import compute_alone

    net = network(name).eval().to(memory_format=torch.channels_last)
    autocast, show, files = precision(net), augment.none(SIZE).valid, photos(root, images)
    torch.set_num_threads(threads or cores())

    def decode(index: int) -> Any:
        return show(files.read(index, SIZE))

    start = time.perf_counter()
    with (
        ThreadPoolExecutor(threads or cores(), initializer=compute_alone) as pool,
        torch.inference_mode(),
        torch.autocast("cpu", autocast, enabled=autocast is not None),
    ):
        for first in range(0, len(files), BATCH):
            chosen = range(first, min(first + BATCH, len(files)))
            net.features(torch.stack(list(pool.map(decode, chosen))).permute(0, 3, 1, 2))
    return time.perf_counter() - start


def synthetic(folder: Path, rows: int) -> Any:
    """Features of so many rows, as the cache keeps them."""
    import torch

    from expkit.features import Features
    from expkit.features.entries import Entries
    from expkit.features.rows import RowWriter

    def fill(place: Path) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(0)
        with RowWriter(place / "rows.bin", rows, WIDTH, "bf16") as writer:
            for piece in torch.arange(rows).split(10_000):
                writer.write(torch.randn(len(piece), WIDTH, generator=draw).bfloat16())
        return {"rows": rows, "width": WIDTH, "precision": "bf16"}

    return Features(Entries(folder).get(f"rows-{rows}", fill, what="rows"))


def train_head(features: Any) -> None:
    """One epoch of a plain head on cached rows, and a look at all of them in order."""
    import torch

    from expkit.features import FeatureLoader

    labels = torch.arange(len(features)) % CLASSES
    head = torch.nn.Sequential(torch.nn.BatchNorm1d(WIDTH), torch.nn.Linear(WIDTH, CLASSES))
    optimizer = torch.optim.SGD(head.parameters(), 0.1)
    loader = FeatureLoader([features], labels, batch_size=64, seed=0, train=True)
    for batch in loader.stream(0, 0, 1):
        torch.nn.functional.cross_entropy(head(batch.images), batch.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    for _ in loader:
        pass


def peak_memory() -> int:
    """Most bytes that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_rows(folder: Path) -> None:
    """Print how fast rows are read back, and what memory it takes to train on them."""
    train_head(synthetic(folder, 1000))
    before = peak_memory()
    features = synthetic(folder, ROWS)
    start = time.perf_counter()
    train_head(features)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    for first in range(0, ROWS, 4096):
        features.slice(first, min(first + 4096, ROWS))
    speed = ROWS * WIDTH * 2 / (time.perf_counter() - start)
    print(f"| read back in order, of {ROWS * WIDTH * 2 / 1e9:.1f} GB, converted to float32 | {speed / 1e9:.2f} GB/s |")
    print(f"| peak memory of training on {ROWS:,} rows, above 1,000 rows | {(peak_memory() - before) / 1e6:.0f} MB |")
    print(f"| an epoch of that in batches of 64, and one in order | {seconds:.1f} s |")


def subset(root: Path, folder: Path) -> Path:
    """A folder in the layout of Oxford-IIIT Pets with a few images of each breed."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to((root / "images").resolve())
    for name in ("trainval.txt", "test.txt"):
        lines = (root / "annotations" / name).read_text().splitlines()
        breeds = [line.split()[0].rpartition("_")[0] for line in lines]
        kept = [line for place, line in enumerate(lines) if breeds[:place].count(breeds[place]) < WARM_UP]
        (folder / "annotations" / name).write_text("\n".join(kept) + "\n")
    return folder


def composed(root: Path, *overrides: str) -> Any:
    """The config of the recipe on photos, with further overrides."""
    from hydra import compose, initialize_config_dir

    from expkit.config.composed import plain
    from expkit.config.schema import ROOT

    choices = ["+experiment=pets", f"data.root={root}", "model=efficientnet_lite0", "transfer=frozen_precompute"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return plain(compose("config", overrides=[*choices, *overrides]))


def recipe(root: Path, cache: Path) -> float:
    """Seconds of a whole run of `frozen_precompute`, from the composed config to its result."""
    from expkit.run_folder import RunFolder
    from expkit.task import train

    os.environ["EXPKIT_CACHE"] = str(cache)
    config = composed(root, f"epochs={EPOCHS}", "tracking=none")
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder, "run"), "pets", {}, [])
        start = time.perf_counter()
        train(config, run)
        return time.perf_counter() - start


def fastai_recipe(root: Path) -> float:
    """Seconds of fastai's `fit_one_cycle` for a new head on the frozen body, reckoned from FASTAI_EPOCHS."""
    import timm
    from fastai.vision import all as fastai
    from torch import nn

    from expkit.model.timm_body import lite0_weights
    from expkit.model.timms import LITE_MEAN, LITE_STD

    body = timm.create_model("tf_efficientnet_lite0", num_classes=0, global_pool="")
    body.load_state_dict(lite0_weights(body), strict=False)
    held_out = listed(root)
    files = [root / "images" / f"{name}.jpg" for name in held_out]
    loaders = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_y=lambda path: path.stem.rpartition("_")[0],
        splitter=fastai.FuncSplitter(lambda path: held_out[path.stem]),
        item_tfms=fastai.Resize(SIZE),
        batch_tfms=fastai.Normalize.from_stats(LITE_MEAN, LITE_STD),
    ).dataloaders(files, bs=BATCH)
    net = nn.Sequential(body, fastai.create_head(1280, loaders.c))
    learner = fastai.Learner(
        loaders, net, splitter=lambda net: [fastai.params(part) for part in net], metrics=fastai.accuracy
    )
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        start = time.perf_counter()
        learner.fit_one_cycle(FASTAI_EPOCHS, 1e-3)
        return (time.perf_counter() - start) * EPOCHS / FASTAI_EPOCHS


def recipe_twice(root: Path, *, cached: bool) -> float:
    """Seconds of the first run of the recipe, or of a second one with its cache."""
    with tempfile.TemporaryDirectory() as cache:
        first = recipe(root, Path(cache))
        return recipe(root, Path(cache)) if cached else first


EXTRACTION: dict[str, Callable[[Path], float]] = {
    f"{name}: {title}": partial(run, name)
    for name in ("efficientnet_lite0", "resnet18")
    for title, run in (("expkit", expkit_extraction), ("bare", bare), ("bare, one thread", partial(bare, threads=1)))
}
RECIPE: dict[str, Callable[[Path], float]] = {
    "frozen_precompute": partial(recipe_twice, cached=False),
    "frozen_precompute, cached": partial(recipe_twice, cached=True),
    "bare pass": partial(bare, "efficientnet_lite0"),
    "fastai": fastai_recipe,
}
PARTS = {"extraction": EXTRACTION, "rows": {}, "recipe": RECIPE}


def compare(part: str, root: Path, runs: int) -> None:
    """Print one part's table."""
    if part == "rows":
        print("| cached rows | |\n|---|---:|")
        with tempfile.TemporaryDirectory() as folder:
            measure_rows(Path(folder))
        return
    found = in_turns(__file__, list(PARTS[part]), runs, "--root", str(root))
    if part == "recipe":
        print_times(found)
        return
    for name in ("efficientnet_lite0", "resnet18"):
        print_rates(
            "images/s", {title: rates for title, rates in found.items() if title.startswith(name)}, f"{name}: expkit"
        )


def print_times(found: dict[str, list[float]]) -> None:
    """A table of medians and ranges of seconds, and each as a multiple of the bare pass."""
    reference = statistics.median(found["bare pass"])
    print("| 20 epochs, after imports | seconds | lowest to highest | of the bare pass |\n|---|---:|---:|---:|")
    for name, values in found.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.1f} | {min(values):.1f} to {max(values):.1f} | {median / reference:.2f} x |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--part", choices=PARTS, help="one part; all where it is left out")
    parser.add_argument("--root", type=Path, default=PETS)
    parser.add_argument("--only", choices=[*EXTRACTION, *RECIPE], help="one contestant, once, in this process")
    options = parser.parse_args()
    if not (options.root / "images").is_dir():
        sys.exit(f"{options.root} has no images/ and annotations/: give a folder with --root")
    if options.only:
        task = (EXTRACTION | RECIPE)[options.only]
        with tempfile.TemporaryDirectory() as folder:
            task(subset(options.root, Path(folder)))
        seconds = task(options.root)
        print(len(listed(options.root)) / seconds if options.only in EXTRACTION else seconds)
        return
    for part in [options.part] if options.part else PARTS:
        compare(part, options.root, options.runs)


if __name__ == "__main__":
    main()
