"""Sweeps: `python benchmarks/sweep.py [--part cost|processes|workers|seeding] [--runs N] [--studies N] [--root PETS]`.

All but `workers` train `transfer=frozen_precompute` with efficientnet_lite0 for 5 epochs on PETS (in the layout of
Oxford-IIIT Pets), without pruning; everything that a run or a sweep does counts, from the start of its process to its
end, tracking in a new sqlite store included.

Cost: a sweep of 32 trials beside one run, each with an empty cache; and what a warm trial costs besides its training
steps (composing, building, validating, recording), median over the trials but the first.

Processes: the same 32 trials, one process each, one after the other, beside the sweep; the cache is full.

Workers: two workers on one sqlite study with 200 tiny trials (three digits, one epoch), and what became of each.

Seeding: the best so far of 32 trials around what the LR finder suggests, and of 32 over [1e-7, 10], mean of 5 studies.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from turns import environment, undisturbed

PETS = Path(__file__).parents[2] / "shared" / "data" / "pets_mini"
TRIALS, EPOCHS, TINY = 32, 5, 200
SWEEP = ("+sweeps=lr_wd_pct_start", f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.pruner=none")
LIMIT = 1800
"""Seconds after which a sweep counts as hung."""


def expkit(cwd: Path, *arguments: str) -> tuple[float, str]:
    """Wall seconds of one command with the cache in `cwd`, and what it said."""
    command = [sys.executable, "-m", "expkit", *arguments]
    env = environment() | {"EXPKIT_CACHE": str(cwd / "cache")}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start, done.stdout + done.stderr


def recipe(root: Path) -> list[str]:
    """The run that all trials are variations of."""
    return [
        "+experiment=pets",
        f"data.root={root.resolve()}",
        "transfer=frozen_precompute",
        "model=efficientnet_lite0",
        f"epochs={EPOCHS}",
    ]


def trials_in(cwd: Path) -> list[Any]:
    """The trials of the only study in a folder."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (database,) = cwd.glob("outputs/*/sweep_*/study.db")
    return list(optuna.load_study(study_name=None, storage=f"sqlite:///{database}").trials)


def in_new_folder(measure: Callable[[Path], Any]) -> Any:
    """What `measure` gives for an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def measure_cost(root: Path, runs: int) -> None:
    """A sweep beside one run, and the fixed cost of a warm trial."""
    single, swept = [], []
    for _ in range(runs):
        single.append(undisturbed(partial(in_new_folder, lambda cwd: expkit(cwd, *recipe(root))[0])))
        swept.append(undisturbed(partial(in_new_folder, partial(sweep_cost, root))))
    one, all_of_them = statistics.median(single), statistics.median(seconds for seconds, _ in swept)
    costs = [cost for _, found in swept for cost in found]
    print(f"| {runs} runs in turns, cache cold | seconds | lowest to highest |")
    print("|---|---:|---:|")
    print(f"| one run of {EPOCHS} epochs | {one:.1f} | {min(single):.1f} to {max(single):.1f} |")
    lowest, highest = min(swept)[0], max(swept)[0]
    print(f"| sweep of {TRIALS} such | {all_of_them:.1f} = {all_of_them / one:.2f} x | {lowest:.1f} to {highest:.1f} |")
    print(f"| a warm trial but its steps | {statistics.median(costs):.3f} | {min(costs):.3f} to {max(costs):.3f} |")


def sweep_cost(root: Path, cwd: Path) -> tuple[float, list[float]]:
    """Seconds of a sweep, and for each trial but the first, those from the one before to its end but its own steps."""
    from omegaconf import OmegaConf

    seconds, _ = expkit(cwd, "-m", *recipe(root), *SWEEP)
    trials = trials_in(cwd)
    costs = []
    for before, trial in pairwise(trials):
        (folder,) = cwd.glob(f"outputs/*/sweep_*/{trial.number}")
        result = json.loads((folder / "result.json").read_text())
        batch = OmegaConf.load(folder / "config.yaml").batch_size
        steps = result["steps"] * batch / result["images_per_second"]
        costs.append((trial.datetime_complete - before.datetime_complete).total_seconds() - steps)
    return seconds, costs


def measure_processes(root: Path) -> None:
    """The trials of a sweep, each in a process of its own, beside the sweep."""

    def both(cwd: Path) -> tuple[float, float]:
        expkit(cwd, *recipe(root))  # fills the cache
        warm, _ = expkit(cwd, "-m", *recipe(root), *SWEEP)
        single = [
            expkit(cwd, *(one for one in trial.user_attrs["overrides"] if not one.startswith("+sweeps")))[0]
            for trial in trials_in(cwd)
        ]
        return warm, sum(single)

    warm, cold = in_new_folder(both)
    print(f"| {TRIALS} trials, cache full | seconds | |")
    print("|---|---:|---:|")
    print(f"| a sweep | {warm:.1f} | |")
    print(f"| a process each | {cold:.1f} | {cold / warm:.1f} x |")


def measure_workers() -> None:
    """Two workers on one sqlite file."""
    tiny = ["+experiment=digits", "data.classes=[0,1,2]", "image_size=16", "epochs=1", "tracking=none"]
    space = ["transfer=frozen_precompute", "hydra/sweeper=expkit", "optim.lr=tag(log, interval(1e-4, 1e-1))"]
    jobs = [f"hydra.sweeper.n_trials={TINY}", "hydra.sweeper.n_jobs=2"]

    def run(cwd: Path) -> tuple[float, str, list[Any], int]:
        seconds, said = expkit(cwd, "-m", *tiny, *space, *jobs)
        return seconds, said, trials_in(cwd), len(list(cwd.glob("outputs/*/sweep_*/*/result.json")))

    seconds, said, trials, results = in_new_folder(run)
    states = Counter(trial.state.name for trial in trials)
    numbers = [trial.number for trial in trials] == list(range(TINY))
    params = len({json.dumps(trial.params) for trial in trials})
    print(f"{TINY} trials by two workers in {seconds:.1f} s: {dict(states)}, {results} results, {params} different")
    print(f"params, numbered without a gap: {numbers}; 'database is locked': {'locked' in said}")


def measure_seeding(root: Path, studies: int) -> None:
    """Best so far of seeded and of unseeded studies."""
    cache = tempfile.mkdtemp()
    found: dict[str, list[list[float]]] = {"around the suggestion": [], "over [1e-7, 10]": []}
    spaces = {"around the suggestion": [], "over [1e-7, 10]": ["optim.lr=tag(log, interval(1e-7, 10))"]}
    for seed in range(studies):
        for name, space in spaces.items():

            def run(cwd: Path, space: list[str] = space, seed: int = seed) -> list[Any]:
                os.symlink(cache, cwd / "cache")
                expkit(cwd, "-m", *recipe(root), *SWEEP, *space, f"hydra.sweeper.seed={seed}", "tracking=none")
                return trials_in(cwd)

            values = [trial.value if trial.value is not None else 0.0 for trial in in_new_folder(run)]
            found[name].append([max(values[: number + 1]) for number in range(len(values))])
            print(f"seed {seed}, {name}: {found[name][-1][-1]:.4f}", file=sys.stderr)
    shown = [1, 2, 4, 8, 16, 32]
    print(f"| best valid accuracy, mean of {studies} studies, after | {' | '.join(map(str, shown))} trials |")
    print(f"|---|{'---:|' * len(shown)}")
    for name, curves in found.items():
        means = [statistics.fmean(curve[number - 1] for curve in curves) for number in shown]
        print(f"| {name} | {' | '.join(f'{mean:.4f}' for mean in means)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["cost", "processes", "workers", "seeding"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--root", type=Path, default=PETS)
    options = parser.parse_args()
    parts = {
        "cost": partial(measure_cost, options.root, options.runs),
        "processes": partial(measure_processes, options.root),
        "workers": measure_workers,
        "seeding": partial(measure_seeding, options.root, options.studies),
    }
    for name, part in parts.items():
        if options.part in (None, name):
            print(f"\n### {name}\n", flush=True)
            part()


if __name__ == "__main__":
    main()
