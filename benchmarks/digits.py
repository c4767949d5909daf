"""A whole run, all included: `python benchmarks/digits.py [--runs N]` times `python -m expkit +experiment=digits`.

From the start of the process to its end: imports, training resnet18 for all epochs, validation, checkpoints, pictures,
and everything sent to MLflow. Each run starts in an empty folder, so MLflow's database is made anew each time.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from turns import TIMEOUT, environment, undisturbed


def measure(*overrides: str) -> tuple[float, float]:
    """Wall seconds of one run, and the best valid accuracy in its result."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "expkit", "+experiment=digits", *overrides]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{command} failed:\n{done.stderr}")
        (path,) = Path(folder).glob("outputs/digits/*/result.json")
        return seconds, json.loads(path.read_text())["metrics"]["best"]["valid_accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    runs = [undisturbed(partial(measure, f"seed={seed}")) for seed in range(options.runs)]
    print(f"| {options.runs} seeds | median | lowest to highest |")
    print("|---|---:|---:|")
    for name, values, form in zip(("seconds", "valid accuracy"), zip(*runs, strict=True), (".1f", ".4f"), strict=True):
        lowest, median, highest = (format(f(values), form) for f in (min, statistics.median, max))
        print(f"| {name} | {median} | {lowest} to {highest} |")


if __name__ == "__main__":
    main()
