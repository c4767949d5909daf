"""What the JSON files of a run folder hold, and what is wrong where a person or a program put something else there."""

import json
import reprlib
from collections.abc import Mapping
from typing import Any

from expkit.check import Positive, check_value, describe
from expkit.errors import UserError

WHOLE_COPY = "put a whole copy of the file in its place, or begin a new run"

Shape = Mapping[str, Any]
"""Keys with the types of their values; a shape in place of a type has to be whole, but for `OPTIONAL`."""
Keys = dict[str, Any]
Values = dict[str, float | None]
"""Metrics by name, None where they are no number."""

SHAPES: Mapping[str, Shape] = {
    "run.json": {
        "experiment": str,
        "overrides": list[str],
        **dict.fromkeys(("started_in", "place", "parent", "fingerprint", "name", "kind", "store"), str),
        **dict.fromkeys(("started", "ended"), int),
        **dict.fromkeys(("choices", "config", "params", "tags", "tracking", "searched", "images"), Keys),
        **dict.fromkeys(("edited", "found", "classes"), list[str]),
        **dict.fromkeys(("accept_data", "model", "system_metrics"), bool),
    },
    "result.json": {
        "objective": {"name": str, "value": float | None},
        "metrics": {"last": Values, "best": Values, "tta": Values},
        "best_epoch": int,
        "run_id": str | None,
        **dict.fromkeys(("seconds", "images_per_second"), float),
        **dict.fromkeys(("precision", "fingerprint"), str),
        "features": dict[str, str] | None,
        "classes": list[str],
        **dict.fromkeys(("reading", "images", "environment"), Keys),
    },
    "lr_find.json": {
        **dict.fromkeys(("lr", "scale"), float),
        "suggest": str,
        "suggestions": dict[str, float],
        **dict.fromkeys(("steps", "num_it"), int),
    },
    "calibration.json": {"temperature": Positive, "weights": str},
    "end.json": {"status": str, "time": int, "tags": Keys},
    "tracking.json": {
        **dict.fromkeys(("uri", "run_id", "experiment_id", "status", "model_id", "inputs"), str),
        "registered": {"name": str, "version": str},
        "sent": int,
        **dict.fromkeys(("model", "fetched"), bool),
    },
}
"""What a run writes and reads again, by the name of the file."""
OPTIONAL = ("tta",)


def parsed(text: bytes) -> Any:
    """What a text of JSON says, None where it is none: nested too deep, too, or with numbers of thousands of digits."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def misfit(content: Mapping[str, Any], shape: Shape, prefix: str = "") -> str | None:
    """The first value in a file's content that is not as its shape says, and what it must be; None where there is none.

    Keys at the top may be absent; who needs one says so.
    """
    for key, wanted in shape.items():
        name, value = f"{prefix}{key}", content.get(key)
        if key not in content:
            if prefix and key not in OPTIONAL:
                return f"it lacks {name}"
            continue
        try:
            check_value(name, value, Keys if isinstance(wanted, Mapping) else wanted)
        except UserError:
            return (
                f"{name} must be {describe(Keys if isinstance(wanted, Mapping) else wanted)}, got {reprlib.repr(value)}"
            )
        if isinstance(wanted, Mapping) and isinstance(value, dict) and (problem := misfit(value, wanted, f"{name}.")):
            return problem
    return None


def point_of(line: bytes, place: str) -> tuple[str, float, int, int]:
    """Name, value, step and time in a line of metrics.jsonl. Raises UserError, naming the place, for a damaged one."""
    match parsed(line):
        case {"name": str(name), "value": int() | float() as value, "step": int(step), "timestamp": int(time)}:
            if bool not in (type(step), type(time)):
                return name, value, step, time
    raise UserError(f"{place} is damaged ({line[:40].decode('utf-8', 'replace').strip()!r}): {WHOLE_COPY}")
