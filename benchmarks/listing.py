"""List a tree of a million image files, beside the bare walk over it: `python benchmarks/listing.py [--files N]`.

Each figure is the median of several runs in processes of their own, taken in turns, with the peak memory of the
process. The tree (1,000 files a class, hard links to a small JPEG for each class) is made in a temporary folder.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLASS_SIZE = 1000


def walk(root: str) -> int:
    """The bare walk that listing is measured against."""
    count = 0
    with os.scandir(root) as entries:
        for entry in entries:
            count += walk(entry.path) if entry.is_dir() else 1
    return count


def listing(root: str) -> int:
    """Names and labels of all images."""
    from expkit.data.folder_tree import by_folder
    from expkit.data.split import Split
    from expkit.data.trees.class_folders import class_folders
    from expkit.data.trees.layout import find_splits

    places = class_folders(root, find_splits(root), depth=1)[Split.TRAIN]
    return len(by_folder(root, Split.TRAIN, places, None).codes)


def whole(root: str) -> int:
    """The data source as a run calls it: listed, sizes asked for, every file verified or known to be, and split."""
    from expkit.data import folders

    data = folders(root=root)
    return len(data.train) + len(data.valid)


TASKS: dict[str, Callable[[str], int]] = {"walk": walk, "listing": listing, "first": whole, "again": whole}
SHOWN = {
    "walk": "bare os.scandir walk",
    "listing": "listing: names and labels",
    "first": "folders(), all files verified",
    "again": "folders(), files known from before",
}


def measure(task: str, root: str) -> None:
    """Run one task and print its seconds, the number of files, the peak memory in MB, and seconds of processor time."""
    import expkit.data  # noqa: F401  (imports are no part of listing)

    start, busy = time.perf_counter(), time.process_time()
    count = TASKS[task](root)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(seconds, count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, busy)


def make_tree(root: Path, files: int) -> None:
    from PIL import Image

    for number in range(files // CLASS_SIZE):
        folder = root / f"class_{number:04d}"
        folder.mkdir()
        first = folder / "image_00000000.jpg"
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(first)
        for index in range(1, CLASS_SIZE):
            os.link(first, folder / f"image_{index:08d}.jpg")


def compare(files: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "tree", Path(folder) / "cache"
        root.mkdir()
        make_tree(root, files)
        walk(str(root))  # so that no task pays for the first look at the directories
        found: dict[str, list[list[float]]] = {task: [] for task in TASKS}
        for _ in range(runs):
            for marker in cache.glob("files/*"):
                marker.unlink()
            for task in TASKS:
                command = [sys.executable, __file__, "--task", task, "--root", str(root)]
                environment = {**os.environ, "EXPKIT_CACHE": str(cache)}
                output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                found[task].append([float(value) for value in output.split()])
        report(found)


def report(found: dict[str, list[list[float]]]) -> None:
    bare = statistics.median(result[0] for result in found["walk"])
    print(
        f"| {len(found['walk'])} runs, {found['walk'][0][1]:,.0f} files | seconds | x walk | of a processor | peak MB |"
    )
    print("|---|---:|---:|---:|---:|")
    for task, results in found.items():
        seconds = statistics.median(result[0] for result in results)
        memory = max(result[2] for result in results)
        busy = statistics.median(result[3] for result in results)
        print(f"| {SHOWN[task]} | {seconds:.2f} | {seconds / bare:.2f} | {busy:.2f} | {memory:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        measure(options.task, options.root)
    else:
        compare(options.files, options.runs)


if __name__ == "__main__":
    main()
