"""What benchmarks share: contestants in processes of their own, taking turns, so that a busy moment hits all alike."""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 300
"""Seconds after which a run counts as hung."""


def environment() -> dict[str, str]:
    """This environment, but modules are compiled once and kept, as they are on a user's machine."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONWARNINGS": "ignore"}


def in_turns(script: str, names: Sequence[str], runs: int, *arguments: str) -> dict[str, list[float]]:
    """What `script --only NAME` prints as the last line, a number, for each name; `runs` times in turns."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(runs):
        for name in names:
            command = [sys.executable, script, "--only", name, *arguments]
            done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr}")
            found[name].append(float(done.stdout.splitlines()[-1]))
    return found


def print_rates(unit: str, found: dict[str, list[float]], reference: str) -> None:
    """A table of medians and ranges, with how many times slower than `reference` each is."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    print(f"| {len(found[reference])} runs in turns | {unit} | lowest to highest | {reference} is |")
    print("|---|---:|---:|---:|")
    for name, values in found.items():
        ratio = medians[reference] / medians[name]
        print(f"| {name} | {medians[name]:.1f} | {min(values):.1f} to {max(values):.1f} | {ratio:.2f} x |")


def tree_size(root: Path, pattern: str) -> int:
    """The bytes in all files below `root` that match, 0 where there are none."""
    return sum(path.stat().st_size for path in root.glob(pattern))
