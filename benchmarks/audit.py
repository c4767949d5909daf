"""What `task=audit` finds of planted mistakes: `python benchmarks/audit.py [--seeds N] [--root PETS]`.

A copy of PETS (in the layout of Oxford-IIIT Pets) gets 20 wrong labels, and 10 near duplicates that lie on the other
side of the split: some at half the size, some recompressed, some cropped by 5 %, some all of that. Shown are how many
of the wrong labels are among the first 40 suspects, how many of the duplicates are found, how many pairs of originals
are called duplicates, and the seconds of the whole command with an empty cache and again.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from frozen import PETS
from PIL import Image

WRONG, COPIES, FIRST = 20, 10, 40


def read_lists(root: Path) -> list[list[str]]:
    """File, label and split of each listed photo."""
    rows = []
    for name, split in (("trainval", "train"), ("test", "valid")):
        lines = (root / "annotations" / f"{name}.txt").read_text().splitlines()
        words = [line.split()[0] for line in lines if line and not line.startswith("#")]
        rows += [[f"images/{word}.jpg", word.rpartition("_")[0], split] for word in words]
    return rows


def plant(root: Path, place: Path, seed: int) -> tuple[set[str], dict[str, str]]:
    """Make the copy with its table; gives the files with wrong labels, and the original of each near duplicate."""
    rows, draw = read_lists(root), np.random.default_rng(seed)
    shutil.copytree(root / "images", place / "images", copy_function=shutil.copyfile)
    classes = sorted({label for _, label, _ in rows})
    chosen = draw.choice(len(rows), WRONG + COPIES, replace=False).tolist()
    copies = {}
    for number, row in enumerate(chosen[WRONG:]):
        file, label, split = rows[row]
        name = f"images/copy_{number}.jpg"
        save_copy(place / file, place / name, number % 4, draw)
        rows.append([name, label, "valid" if split == "train" else "train"])
        copies[name] = file
    for row in chosen[:WRONG]:
        others = [name for name in classes if name != rows[row][1]]
        rows[row][1] = others[draw.integers(len(others))]
    with open(place / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "split"], *rows])
    return {rows[row][0] for row in chosen[:WRONG]}, copies


def save_copy(original: Path, copy: Path, kind: int, draw: np.random.Generator) -> None:
    """Save a photo at half its size (0), recompressed (1), cropped by 5 % (2), or with all of that (3)."""
    image = Image.open(original).convert("RGB")
    if kind >= 2:
        width, height = (round(side * 0.95) for side in image.size)
        left, top = (
            int(draw.integers(side - less + 1)) for side, less in zip(image.size, (width, height), strict=True)
        )
        image = image.crop((left, top, left + width, top + height))
    if kind in (0, 3):
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    image.save(copy, quality=30 if kind in (1, 3) else 90)


def audited(place: Path, folder: Path, cache: Path) -> float:
    """Run the command; gives its seconds."""
    command = [sys.executable, "-m", "expkit", "task=audit", "data=csv", f"data.file={place / 'labels.csv'}"]
    start = time.perf_counter()
    subprocess.run(
        [*command, "data.split_column=split", f"hydra.run.dir={folder}"],
        env={**os.environ, "EXPKIT_CACHE": str(cache)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


def scores(folder: Path, wrong: set[str], copies: dict[str, str]) -> tuple[int, int, int]:
    """Wrong labels among the first suspects, copies found with their originals, and pairs of other images."""
    import pandas as pd

    found = pd.read_parquet(folder / "audit" / "findings.parquet")
    first = set(found[found["kind"] == "label"]["file"][:FIRST])
    pairs = {
        frozenset(pair)
        for pair in found[found["kind"].isin(["leak", "conflict", "duplicate"])][["file", "other_file"]].values
    }
    planted = {frozenset(pair) for pair in copies.items()}
    return len(first & wrong), len(pairs & planted), len(pairs - planted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=PETS)
    options = parser.parse_args()
    if not (options.root / "images").is_dir():
        sys.exit(f"{options.root} has no images/ and annotations/: give a folder with --root")
    print(
        f"| seed | wrong labels of {WRONG} in the first {FIRST} | duplicates of {COPIES} | other pairs | cold | again |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    seconds = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            wrong, copies = plant(options.root, place / "data", seed)
            times = [audited(place / "data", place / run, place / "cache") for run in ("cold", "warm")]
            labels, twins, others = scores(place / "warm", wrong, copies)
            seconds.append(times)
            print(f"| {seed} | {labels} | {twins} | {others} | {times[0]:.1f} s | {times[1]:.1f} s |", flush=True)
    cold, warm = (statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"\nmedians: {cold:.1f} s with an empty cache, {warm:.1f} s again")


if __name__ == "__main__":
    main()
