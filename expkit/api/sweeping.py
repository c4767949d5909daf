"""A sweep from Python: an Optuna study, or a grid, as `python -m expkit -m` runs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.api.calling import calling, computing
from expkit.api.overriding import Folders, explaining, listed

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from expkit.api.study import Study


def sweep(*overrides: str, config_dir: Folders = (), quiet: bool = False) -> "Study":
    """Search with Optuna (`+sweeps=NAME`), or run a grid (`optim=sgd,adam`), as `python -m expkit -m OVERRIDES` does.

    The same call goes on with one that was stopped. `config_dir` are folders of configs of your own; `quiet` leaves the
    progress out. With `hydra.sweeper.n_jobs` above 1, a script begins under `if __name__ == "__main__":`.

    Raises UserError for what can be mended, and where all trials or jobs failed; of some, `trials` has the reasons.
    """
    from expkit.api.study import Study

    with calling(quiet=quiet), explaining(), computing():
        folder, failed = swept(overrides, listed(config_dir))
        return Study(folder, failed)


def swept(overrides: Sequence[str], folders: Sequence[str]) -> tuple[Path, dict[int, str]]:
    """Run a sweep to its end; gives its folder, and why each job of a grid failed that did, by number."""
    from expkit.command_line.hydra_line import multirun
    from expkit.errors import UserError, first_ten
    from expkit.grid.again import release
    from expkit.interrupt import Interrupted

    try:
        config, batches = multirun(run_job, overrides, folders)
    except SystemExit as end:  # the only way out of Hydra's callbacks and jobs
        if isinstance(end.__context__, UserError | Interrupted):
            raise end.__context__ from None
        raise
    finally:
        release()
    jobs = [job for batch in batches or () for job in batch]  # a study gives none
    failed = {job.hydra_cfg.hydra.job.num: job.return_value for job in jobs if isinstance(job.return_value, str)}
    if jobs and len(failed) == len(jobs):
        raise UserError(f"all {len(jobs)} jobs failed:\n" + first_ten(f"job {one}: {failed[one]}" for one in failed))
    return Path(config.hydra.sweep.dir).absolute(), failed


def run_job(composed: "DictConfig") -> Any:
    """Run a job of a grid; gives why it failed, so that the others have their turn. A signal ends them all."""
    import sys

    from hydra.core.hydra_config import HydraConfig

    from expkit.command_line.one_run import run_composed
    from expkit.errors import UserError
    from expkit.interrupt import Interrupted
    from expkit.screen import say
    from expkit.secrets import typed_overrides
    from expkit.whole_files import read_json

    hydra = HydraConfig.get()
    shared = read_json(Path(hydra.sweep.dir, "run.json"), "overrides")["overrides"]
    say(f"job {hydra.job.num}: {' '.join(one for one in typed_overrides(hydra) if one not in shared)}")
    try:
        return run_composed(composed, hydra, Path(hydra.runtime.output_dir))
    except UserError as error:
        say(f"job {hydra.job.num} failed: {error}", stderr=True)
        return str(error)
    except Interrupted as stop:
        sys.exit(stop.status)  # Hydra would keep an exception, and go on
