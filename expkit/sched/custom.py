"""The policy `custom`: any schedule for any hyperparameter, written in YAML alone.

A curve is one of
- a number: constant; for lr also "peak", "peak / 25" or "peak * 0.5", relative to the group's peak;
- a mapping `{shape, start, end}`: an annealer; `polynomial` takes `power` too; `start` may be left out where a piece
  before it says where it ended, or for lr (its peak);
- a list of such mappings, each with `pct`: pieces one after the other, the fractions summing to 1;
- the dotted name of an own function of t (in Python the function itself), also as a piece: `{pct, function}`;
- any other list: one curve per layer group.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat, cast

from expkit.check import Portion, Positive, checked, nearest
from expkit.errors import UserError
from expkit.sched.annealers import Schedule, combine, constant, cosine, exponential, linear, polynomial
from expkit.sched.policies import Schedules, with_warmup
from expkit.trust import resolve

SHAPES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "exponential": exponential,
    "polynomial": polynomial,
}
PIECE_KEYS = ("pct", "shape", "start", "end", "power", "function")
PEAK = re.compile(r"peak(?:\s*([*/])\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+))?")


@checked
def custom(
    lr: Sequence[float],
    epochs: int = 1,
    *,
    hypers: Mapping[str, Any],
    warmup: Portion = 0.0,
    warmup_div: Positive = 25.0,
) -> Schedules:
    """Schedule any hyperparameter by any curve; see the head of this module for what a curve may be.

    Args:
        lr: peak of each layer group, held constant where `hypers` has no lr.
        epochs: length of training; the schedules depend on progress alone.
        hypers: hyperparameter (lr, mom, wd, sqr_mom, eps or a value of the trainer) -> curve, or one curve per group.
        warmup: fraction of training spent on a linear rise of lr in front of all curves.
        warmup_div: the warm-up begins at the first lr / warmup_div.

    Raises UserError, naming the key, for a curve that is none.
    """
    wanted = {"lr": "peak", **hypers}
    schedules = {name: hyper_curves(name, value, lr, f"sched.hypers.{name}") for name, value in wanted.items()}
    return with_warmup(schedules, warmup, warmup_div)


def hyper_curves(name: str, value: Any, lr: Sequence[float], key: str) -> Schedule | list[Schedule]:
    """The schedule of one hyperparameter, or a list with one per group where groups differ (lr always)."""
    peaks: list[float | None] = [*lr] if name == "lr" else [None] * len(lr)
    if isinstance(value, list | tuple) and not are_pieces(value, key):
        if len(value) != len(lr):
            raise UserError(f"{key} must have one curve for each of the {len(lr)} layer groups, got {len(value)}")
        return [curve(one, peak, f"{key}[{i}]") for i, (one, peak) in enumerate(zip(value, peaks, strict=True))]
    return [curve(value, peak, key) for peak in peaks] if name == "lr" else curve(value, None, key)


def are_pieces(value: list[Any] | tuple[Any, ...], key: str) -> bool:
    """Whether a list holds pieces of one curve (mappings with `pct`) rather than one curve per group."""
    with_pct = [isinstance(one, Mapping) and "pct" in one for one in value]
    if any(with_pct) and not all(with_pct):
        raise UserError(f"{key}[{with_pct.index(False)}] has no pct: give every piece of a curve its fraction, or none")
    return bool(value) and all(with_pct)


def curve(value: Any, peak: float | None, key: str) -> Schedule:
    """The schedule that one curve of the grammar describes; `peak` is the group's lr, None for all but lr."""
    if isinstance(value, Mapping):
        if "pct" in value:
            raise UserError(f"{key}.pct is for the pieces of a list; leave it out of a single curve")
        return piece(value, peak, peak, key)[0]
    if isinstance(value, list | tuple) and are_pieces(value, key):
        return pieces(value, peak, key)
    if callable(value):
        return cast(Schedule, value)
    if isinstance(value, str) and not PEAK.fullmatch(value.strip()):
        return function_of_t(value, key)
    return constant(number(value, peak, key))


def function_of_t(dotted: str, key: str) -> Schedule:
    """A user's own curve by its dotted name. Raises UserError where it gives no numbers."""
    own = resolve(dotted, key, [])
    for t in (0.0, 0.5):
        try:
            value = own(t)
        except Exception as error:  # whatever a user's function may raise
            raise UserError(f"{key}: {dotted}({t}) raised {type(error).__name__}: {error}") from error
        if isinstance(value, bool) or not isinstance(value, SupportsFloat) or not math.isfinite(float(value)):
            raise UserError(f"{key}: {dotted} must give a number for each t from 0 to 1, got {value!r} for {t}")
    return own


def pieces(values: list[Any] | tuple[Any, ...], peak: float | None, key: str) -> Schedule:
    """Pieces one after the other, each beginning where the one before ended unless it has a `start`."""
    schedules, pcts, last = [], [], peak
    for i, value in enumerate(values):
        schedule, last = piece(value, last, peak, f"{key}[{i}]")
        schedules.append(schedule)
        pcts.append(number(value["pct"], None, f"{key}[{i}].pct"))
    if min(pcts) <= 0 or abs(sum(pcts) - 1) > 1e-6:
        raise UserError(f"{key}: the pct of all pieces must be above 0 and sum to 1, got {pcts}")
    return combine(pcts, schedules)


def piece(value: Mapping[str, Any], last: float | None, peak: float | None, key: str) -> tuple[Schedule, float | None]:
    """One piece and the value at its end; `last` is where the piece before it ended."""
    for name in value:
        if name not in PIECE_KEYS:
            raise UserError(f"{key}.{name} is no key of a curve; {nearest(name, PIECE_KEYS)}")
    if "function" in value:
        if others := sorted({*value} - {"pct", "function"}):
            raise UserError(f"{key}.{others[0]} has no effect beside {key}.function; leave it out")
        own = curve(value["function"], peak, f"{key}.function")
        return own, own(1.0)
    if "shape" not in value:
        raise UserError(f"{key}.shape is missing: one of {', '.join(SHAPES)}, or function: a dotted name")
    start = number(value["start"], peak, f"{key}.start") if "start" in value else last
    if start is None:
        raise UserError(f"{key}.start is missing: the first piece of a curve needs a number to start from")
    annealer = shape(value["shape"], f"{key}.shape")
    if (annealer is constant) == ("end" in value):
        raise UserError(f"{key}.end is {'of no use to constant' if annealer is constant else 'missing: a number'}")
    end = number(value["end"], peak, f"{key}.end") if "end" in value else start
    return anneal(annealer, start, end, value, key), end


def anneal(annealer: Callable[..., Schedule], start: float, end: float, value: Mapping[str, Any], key: str) -> Schedule:
    """Call an annealer with its own arguments, putting `key` in front of what it complains about."""
    takes_power = "power" in inspect.signature(annealer).parameters
    if ("power" in value) != takes_power:
        raise UserError(f"{key}.power is {'missing' if takes_power else 'only for shapes that take it (polynomial)'}")
    power = {"power": number(value["power"], None, f"{key}.power")} if takes_power else {}
    try:
        return annealer(start, end, **power)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def shape(value: Any, key: str) -> Callable[..., Schedule]:
    """The annealer of a name: one of ours, or an own one by dotted name."""
    if callable(value):
        return cast(Callable[..., Schedule], value)
    if isinstance(value, str) and value in SHAPES:
        return SHAPES[value]
    if isinstance(value, str) and "." in value:
        return SHAPES.get(value.removeprefix("expkit.sched.")) or resolve(value, key, [])
    raise UserError(f"{key} must be one of {', '.join(SHAPES)} or a dotted name, got {value!r}")


def number(value: Any, peak: float | None, key: str) -> float:
    """A number of the grammar: plain, or for lr relative to the peak."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = PEAK.fullmatch(value.strip()) if isinstance(value, str) else None
    if match and peak is None:
        raise UserError(f"{key}: only lr has a peak, give a number instead of {value!r}")
    if match and peak is not None:
        factor = float(match[2] or 1)
        if factor == 0 and match[1] == "/":
            raise UserError(f"{key}={value!r} divides by 0; give another number")
        return peak / factor if match[1] == "/" else peak * factor
    raise UserError(f"{key} must be a number, or for lr one relative to its peak such as peak / 25, got {value!r}")
