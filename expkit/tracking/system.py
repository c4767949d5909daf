"""`tracking.system_metrics`: how busy the machine is while a run trains, as MLflow measures it."""

import time
from typing import Any

from mlflow.entities import Metric


class SystemMetrics:
    """Load of processor, memory, disk, network and, with nvidia-ml-py, the GPU; means since the last look."""

    def __init__(self, run_id: str, started: int) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # which takes psutil

        make: Any = SystemMetricsMonitor  # mlflow leaves it untyped
        self.monitor = make(run_id)
        self.started = started
        """When the run began, in milliseconds since 1970."""
        self.monitor.collect_metrics()  # those of the processor are of the time since they were last asked for
        self.last = time.monotonic()

    def points(self, *, at_end: bool = False) -> list[Metric]:
        """The next point of each metric, its step the seconds since the run began; none before it is due."""
        if not at_end and time.monotonic() - self.last < self.monitor.sampling_interval:
            return []
        for part in self.monitor.monitors:
            part.clear_metrics()
        self.monitor.collect_metrics()
        self.last = time.monotonic()
        now = int(time.time() * 1000)
        step = max(0, round((now - self.started) / 1000))
        found = self.monitor.aggregate_metrics()
        return [Metric(f"system/{name}", value, now, step) for name, value in found.items()]
