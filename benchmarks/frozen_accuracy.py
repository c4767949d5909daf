"""How good frozen features are made: `python benchmarks/frozen_accuracy.py [--seeds N] [--epochs N] [--root PETS]`.

`transfer=frozen_precompute` with efficientnet_lite0 on PETS (in the layout of Oxford-IIIT Pets) beside scikit-learn's
LogisticRegression on the very features that the run trained on, by their accuracy on the validation images; expkit's is
that of the last epoch, not the best one. The mean over seeds is shown.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from frozen import EPOCHS, PETS, composed


def accuracies(root: Path, seed: int, epochs: int) -> tuple[float, float]:
    """The accuracy of a run, and of logistic regression on its features."""
    import torch
    from sklearn.linear_model import LogisticRegression

    from expkit.run_folder import RunFolder
    from expkit.task.training import train_phases
    from expkit.wiring import assemble

    run = assemble(composed(root, f"epochs={epochs}", f"seed={seed}"))
    train, valid = run.feed.batches(run.recipe.phases[0])
    with tempfile.TemporaryDirectory() as folder:
        train_phases(run, RunFolder(Path(folder), "pets"))
    images, labels = (torch.cat(column).numpy() for column in zip(*train, strict=True))
    shown, truth = (torch.cat(column).numpy() for column in zip(*valid, strict=True))
    regression = LogisticRegression(max_iter=5000).fit(images, labels)
    return run.trainer.evaluate(valid).metrics["valid_accuracy"], float(regression.score(shown, truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--root", type=Path, default=PETS)
    options = parser.parse_args()
    if not (options.root / "images").is_dir():
        sys.exit(f"{options.root} has no images/ and annotations/: give a folder with --root")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["EXPKIT_CACHE"] = cache
        pairs = [accuracies(options.root, seed, options.epochs) for seed in range(options.seeds)]
    print(f"| valid accuracy, {options.seeds} seeds, {options.epochs} epochs | mean | lowest to highest |")
    print("|---|---:|---:|")
    for name, values in zip(("frozen_precompute", "LogisticRegression"), zip(*pairs, strict=True), strict=True):
        print(f"| {name} | {statistics.fmean(values):.4f} | {min(values):.4f} to {max(values):.4f} |")


if __name__ == "__main__":
    main()
