"""Labels that are probably wrong: confident learning on probabilities of a classifier that did not see the image.

Northcutt, Jiang, Chuang, "Confident Learning", JAIR 2021, arXiv:1911.00068, as the package cleanlab has it.
"""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from expkit.errors import UserError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

FOLDS = 5
STRENGTH = 25.0
"""The inverse of the regularization, for rows of unit length."""


@dataclass(frozen=True)
class LabelDoubts:
    """What a classifier of the other images says of each label."""

    quality: NDArray[np.float64]
    """Its probability of the label that an image has; nan where there is none, or too few of its class."""
    suggestions: NDArray[np.int64]
    """Its likeliest class; -1 where there is none."""
    confidence: NDArray[np.float64]
    """Its probability of that one."""
    sure: NDArray[np.bool_]
    """Whether confident learning calls the label wrong."""

    def suspects(self) -> NDArray[np.int64]:
        """The rows whose likeliest class is not their label, the least likely label first."""
        wrong = np.flatnonzero(self.differs)
        return wrong[np.argsort(self.quality[wrong], kind="stable")]

    @property
    def differs(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is another than the label."""
        return self.quality < self.confidence


def check_installed() -> None:
    """Raise UserError where the package is not there."""
    if find_spec("cleanlab") is None:
        raise UserError(
            "task.labels looks for labels that are probably wrong by the package cleanlab, which is not installed: "
            "pip install 'expkit[audit]', or leave them out with task.labels=false"
        )


def doubts_of(space: NDArray[np.float32], labels: NDArray[np.int64], together: NDArray[np.int64]) -> LabelDoubts:
    """Judge each label by a classifier of the other images; images that are `together` (same number) are left out too.

    Args:
        space: N x D, rows of unit length.
        labels: class index of each, negative for none.
        together: a number each; duplicates share one, which would otherwise vouch for one another.
    """
    from cleanlab.filter import find_label_issues

    count = len(labels)
    quality, confidence = np.full(count, np.nan), np.full(count, np.nan)
    suggestions, sure = np.full(count, -1), np.zeros(count, bool)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    rows = np.flatnonzero((labels >= 0) & (sizes[labels] > 1))
    present, known = np.unique(labels[rows], return_inverse=True)
    if len(present) > 1:
        chances = out_of_fold(space[rows], known, together[rows])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that no label is confident of
            sure[rows] = find_label_issues(known, chances, filter_by="confident_learning", n_jobs=1)
        quality[rows] = chances[np.arange(len(rows)), known]
        suggestions[rows], confidence[rows] = present[chances.argmax(axis=1)], chances.max(axis=1)
    return LabelDoubts(quality, suggestions, confidence, sure & (quality < confidence))


def out_of_fold(
    space: NDArray[np.float32], labels: NDArray[np.int64], together: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probabilities N x C of each image by a classifier that saw neither it nor what is `together` with it."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    apart = len(np.unique(together)) == len(together)
    kind = StratifiedKFold if apart else StratifiedGroupKFold
    most = min(FOLDS, int(np.bincount(labels).max()), len(np.unique(together)))
    chances = np.zeros((len(labels), int(labels.max()) + 1))
    if most < 2:  # all are copies of one another
        chances[np.arange(len(labels)), labels] = 1.0
        return chances
    folds = kind(most, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer images than folds
        for known, asked in folds.split(space, labels, together):
            if len(seen := np.unique(labels[known])) < 2:
                chances[np.ix_(asked, seen)] = 1.0
                continue
            model = classifier(space[known], labels[known])
            chances[np.ix_(asked, model.classes_)] = model.predict_proba(space[asked])
    return chances


def classifier(space: NDArray[np.float32], labels: NDArray[np.int64]) -> "LogisticRegression":
    """A classifier of rows of unit length."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=STRENGTH, max_iter=200).fit(space, labels)
