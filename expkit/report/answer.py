"""The answer of a run: how good its model is, what it was trained on, and how it is used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expkit.command import command, shown
from expkit.run_folder import RunFolder
from expkit.trained.scores import share_interval
from expkit.words import duration, many


@dataclass(frozen=True)
class Score:
    """An accuracy with its 95% interval (Wilson, 1927), also of a small or faultless sample."""

    part: str
    """Of which images."""
    right: int
    images: int

    @property
    def accuracy(self) -> float:
        """The share that is told rightly."""
        return self.right / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Where the accuracy on all images of this kind lies, 95 times of 100."""
        return share_interval(self.accuracy, self.images)


def scores_of(result: Mapping[str, Any], right: int, images: int) -> list[Score]:
    """The scores of a run, a test set's first: by that alone nothing was chosen."""
    scores = [Score("validation", right, images)]
    if test := result.get("test"):
        scores.insert(0, Score("test", round(test["metrics"]["accuracy"] * test["images"]), test["images"]))
    return scores


def trained_on(result: Mapping[str, Any], nodes: Mapping[str, Any]) -> str:
    """What was trained on what, in a sentence."""
    names = {group: str(nodes[group]["_target_"]).rpartition(".")[2] for group in ("model", "optim", "sched")}
    model = nodes["model"].get("name") or names["model"]
    weights = nodes["model"].get("weights")
    began = f"from the weights {weights}" if weights else "from random weights"
    images = result.get("images", {})
    count = f"{images['train']} training images of " if images else ""
    phases = ", then ".join(nodes["transfer"].get("phases", {}))
    return (
        f"Trained: {model}, {began}, on {count}{many(len(result['classes']), 'class', 'classes')}: "
        f"{many(result['epochs'], 'epoch', 'epochs')} ({phases}) with {names['optim']} and {names['sched']}, in "
        f"{duration(result['seconds'])} on {result['device']} in {result['precision']}"
    )


def uses_of(folder: RunFolder) -> dict[str, str]:
    """What can be done with the run, each with the command for it."""
    run = f"run={shown(folder.path)}"
    return {
        "Classify new images": command("task=predict", run, "task.source=PHOTOS", "task.out=predictions.csv"),
        "Score it on other labelled images": command("task=evaluate", run, "data=folders", "data.root=DIR"),
        "Take the model elsewhere": command("task=export", run, "task.format=onnx", "task.out=FOLDER"),
        "Make this page again": command("task=report", run),
    }
