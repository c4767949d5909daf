"""Optuna sweeps: `python -m expkit -m +experiment=pets +sweeps=lr_wd_pct_start`.

The command line starts a driver (`sweeper`), which checks everything, makes or opens the study and starts workers
through the configured launcher. A worker (`worker`) pulls trials from the study until it holds `n_trials` finished
ones; a trial (`trial`) is a Hydra job like any other, in a process that stays warm. The study in its database is the
only truth: a worker or the driver may be killed at any moment, and the same command goes on from there.

This package is the only importer of optuna.
"""
