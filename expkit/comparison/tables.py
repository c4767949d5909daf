"""A comparison as tables."""

import numpy as np
import pandas as pd

from expkit.command import shown
from expkit.comparison.images import Shared
from expkit.comparison.standings import Comparison

SCORES = ("valid_accuracy", "valid_f1", "valid_loss")
"""Metrics that every comparison shows, besides the objective."""


def tables_of(found: Comparison) -> dict[str, pd.DataFrame]:
    """All tables by name: runs, setups, curves and, where runs share images, classes and images."""
    tables = {"runs": runs_table(found), "setups": setups_table(found), "curves": curves_table(found)}
    if found.shared is not None:
        tables |= {"classes": classes_table(found.shared), "images": images_table(found.shared)}
    return tables


def runs_table(found: Comparison) -> pd.DataFrame:
    """A row for each run: its letter, what differs in its config, and what it came to."""
    metrics = dict.fromkeys([found.metric, *SCORES])
    rows = [
        {
            "run": name,
            "folder": str(shown(run.folder.path)),
            **{key: setup.settings.get(key, "") for key in found.keys},
            "seed": run.seed,
            **{metric: run.score(metric) for metric in metrics},
            "test_accuracy": run.test_accuracy,
            "best_epoch": run.best_epoch,
            "epochs": len(run.history),
            "seconds": run.result.get("seconds"),
            "finished": None if all(one.result for _, _, one in found.runs) else bool(run.result),
        }
        for name, setup, run in found.runs
    ]
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def setups_table(found: Comparison) -> pd.DataFrame:
    """A row for each setup: its scores beside those of the first."""
    rows = []
    for one in found.standings:
        low, high = one.interval or (None, None)
        least, most = one.difference_interval or (None, None)
        rows.append(
            {
                "setup": one.setup.letter,
                "settings": one.setup.label,
                "runs": len(one.setup.runs),
                f"mean_{found.metric}": one.mean,
                f"std_{found.metric}": one.spread,
                "images": one.images or None,
                "accuracy": one.accuracy,
                "accuracy_low": low,
                "accuracy_high": high,
                "difference": one.difference,
                "difference_low": least,
                "difference_high": most,
                "gained": one.gains,
                "lost": one.losses,
                "test": one.test,
                "p": one.chance,
            }
        )
    return pd.DataFrame(rows)


def curves_table(found: Comparison) -> pd.DataFrame:
    """A row for each epoch of each run, with all its metrics."""
    return pd.DataFrame(
        [
            {"run": name, "epoch": epoch, **metrics}
            for name, _, run in found.runs
            for epoch, metrics in enumerate(run.history, start=1)
        ]
    )


def classes_table(shared: Shared) -> pd.DataFrame:
    """A row for each class: its images, and the share of them that each setup tells rightly."""
    counts = np.bincount(shared.labels, minlength=len(shared.classes))
    return pd.DataFrame(
        [
            {"class": shared.classes[label], "images": int(counts[label])}
            | {setup.letter: value for setup, value in zip(shared.setups, values.tolist(), strict=True)}
            for label, values in shared.recalls.items()
        ]
    )


def images_table(shared: Shared) -> pd.DataFrame:
    """A row for each image that setups disagree on: what each run took it for, and which are right."""
    rows = [
        {
            "file": shared.files[image],
            "label": shared.classes[shared.labels[image]],
            "right": " ".join(
                name
                for name, guess in zip(shared.names, shared.guesses[:, image], strict=True)
                if guess == shared.labels[image]
            ),
            **{
                name: shared.classes[guess]
                for name, guess in zip(shared.names, shared.guesses[:, image].tolist(), strict=True)
            },
        }
        for image in shared.changed.tolist()
    ]
    return pd.DataFrame(rows, columns=["file", "label", "right", *shared.names])
