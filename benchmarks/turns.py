"""What benchmarks share: contestants in processes of their own, in turns, and runs that nothing else disturbed.

Training in several threads waits at barriers, where an equal on the same cores can make it ten times slower. So each
run waits for a quiet machine, and one beside which other processes computed is made again.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

TIMEOUT = 300
"""Seconds after which a run counts as hung."""
PATIENCE = 120
"""Most seconds to wait for a quiet machine."""
TRIES = 3
"""How often a run is made at most, where others disturb it."""
DISTURBED = 0.1
"""How much of a core other processes may take."""


def environment() -> dict[str, str]:
    """This environment, but modules are compiled once and kept, as they are on a user's machine."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONWARNINGS": "ignore"}


def in_turns(script: str, names: Sequence[str], runs: int, *arguments: str) -> dict[str, list[float]]:
    """What `script --only NAME` prints as the last line, a number, for each name; `runs` times in turns."""

    def run(name: str) -> float:
        command = [sys.executable, script, "--only", name, *arguments]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr}")
        return float(done.stdout.splitlines()[-1])

    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(runs):
        for name in names:
            found[name].append(undisturbed(partial(run, name)))
            print(f"{name}: {found[name][-1]:.1f}", file=sys.stderr)
    return found


def undisturbed(measure: Callable[[], Result]) -> Result:
    """The result of `measure` on a quiet machine; the last of `TRIES`, with a word, where it never is."""
    for _ in range(TRIES):
        wait_for_quiet()
        start, before = time.perf_counter(), work_of_others()
        result = measure()
        share = (work_of_others() - before) / (time.perf_counter() - start)
        if share < DISTURBED:
            return result
    print(f"disturbed: other processes took {share:.2f} of a core during a run", file=sys.stderr)
    return result


def wait_for_quiet() -> None:
    """Wait until other processes leave the cores alone for a second, for `PATIENCE` seconds at most."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        before = work_of_others()
        time.sleep(1)
        if work_of_others() - before < DISTURBED:
            return


def work_of_others() -> float:
    """Processor seconds of the machine but those of this process and its finished children."""
    import psutil

    times = psutil.cpu_times()
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return times.user + times.system + getattr(times, "nice", 0.0) - sum(one.ru_utime + one.ru_stime for one in own)


def print_rates(unit: str, found: dict[str, list[float]], reference: str) -> None:
    """A table of medians and ranges, with how many times as fast as each `reference` is."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    print(f"| {len(found[reference])} runs in turns | {unit} | lowest to highest | {reference} is |")
    print("|---|---:|---:|---:|")
    for name, values in found.items():
        ratio = medians[reference] / medians[name]
        print(f"| {name} | {medians[name]:.1f} | {min(values):.1f} to {max(values):.1f} | {ratio:.2f} x |")


def tree_size(root: Path, pattern: str) -> int:
    """The bytes in all files below `root` that match, 0 where there are none."""
    return sum(path.stat().st_size for path in root.glob(pattern))
