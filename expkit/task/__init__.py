"""The `task` group: what can be done with a composed experiment."""

from expkit.task.auditing import audit
from expkit.task.batch_shown import show_batch
from expkit.task.cache_care import cache
from expkit.task.comparing import compare
from expkit.task.evaluating import evaluate
from expkit.task.exporting import export
from expkit.task.model_summary import summary
from expkit.task.predicting import predict
from expkit.task.reporting import report
from expkit.task.schedule_plot import plot_schedule
from expkit.task.searching import lr_find
from expkit.task.training import train

__all__ = [
    "audit",
    "cache",
    "compare",
    "evaluate",
    "export",
    "lr_find",
    "plot_schedule",
    "predict",
    "report",
    "show_batch",
    "summary",
    "train",
]
