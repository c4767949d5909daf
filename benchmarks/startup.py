"""How soon expkit answers and how soon it trains, in fresh processes: `python benchmarks/startup.py [--runs N]`.

The reference is what the libraries alone take: `python -c "import torch, torchvision, mlflow"`. The first step is seen
from outside: with `trainer.checkpoint_every=1` a run writes its traces as soon as it has taken one step, so the time is
from the start of the process to the first byte in traces.bin, and includes the first batch's forward and backward
pass. Then the run is told to stop. All runs share a working folder, where one run has been before, so that MLflow's
database exists; what the very first run takes is shown too.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from turns import TIMEOUT, environment, tree_size, undisturbed

DIGITS = ["-m", "expkit", "+experiment=digits"]
POLL = 0.005
"""Seconds between looks at the run's files."""


def finished(folder: Path, arguments: list[str], status: int) -> float:
    """Seconds until `python ARGUMENTS` ends, which it must with `status`."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=TIMEOUT
    )
    seconds = time.perf_counter() - start
    if done.returncode != status:
        sys.exit(f"{arguments} ended with {done.returncode}:\n{done.stderr}")
    return seconds


def first_step(folder: Path) -> float:
    """Seconds until a run of digits has written the trace of its first step."""
    before = tree_size(folder, "outputs/*/*/traces.bin")
    command = [sys.executable, *DIGITS, "trainer.checkpoint_every=1"]
    start = time.perf_counter()
    run = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while tree_size(folder, "outputs/*/*/traces.bin") == before:
        if run.poll() is not None:
            sys.exit(f"the run ended before its first step:\n{run.communicate()[1].decode()}")
        time.sleep(POLL)
    seconds = time.perf_counter() - start
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=TIMEOUT)
    return seconds


TASKS: dict[str, Callable[[Path], float]] = {
    "import torch, torchvision, mlflow": lambda folder: finished(
        folder, ["-c", "import torch, torchvision, mlflow"], 0
    ),
    "first training step of digits": first_step,
    "--help": lambda folder: finished(folder, ["-m", "expkit", "--help"], 0),
    "a config error (epochs=0)": lambda folder: finished(folder, [*DIGITS, "epochs=0"], 1),
    "list of experiments": lambda folder: finished(folder, ["-m", "expkit"], 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    found: dict[str, list[float]] = {task: [] for task in TASKS}
    with tempfile.TemporaryDirectory() as folder:
        first = {task: measure(Path(folder)) for task, measure in TASKS.items()}
        for _ in range(options.runs):
            for task, measure in TASKS.items():
                found[task].append(undisturbed(partial(measure, Path(folder))))
    imports = statistics.median(next(iter(found.values())))
    print(f"| {options.runs} runs in turns | seconds | lowest to highest | x imports | very first |")
    print("|---|---:|---:|---:|---:|")
    for task, values in found.items():
        median = statistics.median(values)
        ends = f"{min(values):.2f} to {max(values):.2f}"
        print(f"| {task} | {median:.2f} | {ends} | {median / imports:.2f} | {first[task]:.2f} |")


if __name__ == "__main__":
    main()
