"""How workers start: through the configured launcher, or as processes of ours where that would run one by one."""

import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, run_job, setup_globals
from omegaconf import open_dict

from expkit.errors import UserError
from expkit.sweep.space.grammar import first_line
from expkit.sweep.work.worker import Ended, Worker
from expkit.threads import leave

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def launch(worker: Worker, overrides: Sequence[str], jobs: int) -> list[Ended]:
    """Run `jobs` workers to their end, each as a job with these overrides; how each ended."""
    sweep = worker.sweep
    if jobs > 1 and sweep.config.hydra.launcher._target_ == BASIC:
        return launch_processes(worker, overrides, jobs)
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=sweep.context, task_function=worker, config=sweep.config
    )
    try:
        done = launcher.launch([list(overrides)] * jobs, initial_job_idx=0)
    except Exception as error:  # whatever a launcher has for a worker that was killed
        raise UserError(
            f"the launcher gave up ({type(error).__name__}: {first_line(error)}); what the study has is kept: run the "
            "same command again to go on"
        ) from error
    return [ended(job) for job in done]


def ended(job: JobReturn) -> Ended:
    """How a worker ended; raises what it did not foresee."""
    end: Ended = job.return_value
    return end


def launch_processes(worker: Worker, overrides: Sequence[str], jobs: int) -> list[Ended]:
    """Run workers as processes of this one, all at the same time; one that is killed leaves its trial to the others."""
    context = multiprocessing.get_context("spawn")  # a forked child would share the torch threads of this process
    running = []
    for number in range(jobs):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=run_process, args=(worker, list(overrides), number, jobs, there))
        process.start()
        there.close()
        running.append((process, here))
    ends = []
    for process, here in running:
        try:
            ends.append(here.recv())
        except EOFError:
            ends.append(Ended(killed=True))
        process.join()
    return ends


def run_process(worker: Worker, overrides: Sequence[str], number: int, jobs: int, there: Connection) -> None:
    """Run one worker as a Hydra job in a process of its own, and say through `there` how it ended."""
    setup_globals()
    Plugins.instance()  # registers where configs come from
    share_cores(jobs)
    config = worker.sweep.context.config_loader.load_sweep_config(worker.sweep.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
    job = run_job(
        hydra_context=worker.sweep.context,
        task_function=worker,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    with suppress(BrokenPipeError):  # the driver is gone
        there.send(ended(job))
    leave(0)


def share_cores(jobs: int) -> None:
    """Let this process compute on its share of the cores, unless the user says otherwise.

    With more threads than cores, those of several processes would wait for each other at every barrier.
    """
    import torch

    from expkit.data.images.pace import cores

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // jobs))
