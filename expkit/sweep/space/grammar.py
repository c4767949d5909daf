"""Search spaces read from Hydra's override grammar, in a sweep file's `params` and on the command line."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    ParsedElementType,
    Quote,
    QuotedString,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException

from expkit.config.schema import GROUPS
from expkit.errors import UserError
from expkit.sweep.space.spaces import Around, Choice, Numbers, Param, Search, bare, text_of


def read_search(params: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader | None = None) -> Search:
    """The search of a sweep file's `params` and the command line's overrides, which replace them key by key.

    `loader` knows the choices of config groups, for `glob`. Raises UserError that names the key at fault.
    """
    found: dict[str, Param | str] = {}
    for key, value in params.items():
        where = f"hydra.sweeper.params.{key}"
        refuse_nodes(key, value, where)
        found[bare(key)] = read_param(parsed(f"{key}={text_of(value)}", where, loader), where)
    for argument in arguments:
        override = parsed(argument, argument, loader)
        found.pop(bare(override.get_key_element()), None)  # its place is where the command line has it
        found[bare(override.get_key_element())] = read_param(override, bare(override.get_key_element()))
    return Search(
        tuple(one for one in found.values() if isinstance(one, Param)),
        tuple(one for one in found.values() if isinstance(one, str)),
    )


def refuse_nodes(key: str, value: object, where: str) -> None:
    """Raise UserError for YAML that is no space of a config group: a mapping of keys, a list of choices."""
    if bare(key) not in GROUPS or isinstance(value, str):
        return
    if isinstance(value, Mapping):
        inner = next(iter(value), "KEY")
        raise UserError(f"{where} must be a choice or a space, got a mapping; write {key}.{inner}, with a dot")
    if isinstance(value, Sequence):
        choices = ", ".join(map(str, value))
        raise UserError(f"{where} must be a choice or a space, got a list; write choice({choices})")


def parsed(text: str, where: str, loader: ConfigLoader | None = None) -> Override:
    """One override, parsed by Hydra. Raises UserError that says what is wrong at `where`."""
    try:
        return OverridesParser.create(config_loader=loader).parse_override(text)
    except HydraException as error:
        raise UserError(f"{where}: {text!r} is not written in Hydra's override grammar: {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """What an error says, without the lines that point into the text."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_param(override: Override, where: str) -> Param | str:
    """What an override says: a space to search, or a value that all trials share (as the override itself).

    Raises UserError, naming `where`, for a space that holds nothing to search.
    """
    key, value = override.get_key_element(), override.value()
    prefix = key[: len(key) - len(key.lstrip("+"))]
    if isinstance(value, Mapping) and "around" in value:
        return Param(bare(key), read_around(value, where), prefix)
    if not override.is_sweep_override():
        return override.input_line if override.input_line is not None else key
    if override.is_choice_sweep():
        return Param(bare(key), read_choice(override, where), prefix)
    if isinstance(value, RangeSweep):
        return Param(bare(key), read_range(value, where), prefix)
    assert isinstance(value, IntervalSweep)
    return Param(bare(key), read_interval(value, where), prefix)


def read_around(value: Mapping[Any, Any], where: str) -> Around:
    """`{around: lr_find, factor: 10}`."""
    factor = value.get("factor", 10)
    if value["around"] != "lr_find":
        raise UserError(f"{where}.around must be lr_find, got {value['around']!r}")
    if unknown := sorted(set(value) - {"around", "factor"}):
        raise UserError(f"{where}.{unknown[0]} is no key of {where}; it has around and factor")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 < factor < math.inf:
        raise UserError(f"{where}.factor must be a number above 1, got {factor!r}")
    return Around(float(factor))


def read_choice(override: Override, where: str) -> Choice:
    """`choice(sgd, adam)`, `sgd,adam`, `glob(*)`."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        refuse_tags(value.tags, where, "a choice")
        elements: list[ParsedElementType] = list(value.list)  # in the order written, also where it says shuffle
    else:
        elements = list(override.sweep_iterator())
    texts = [text_of_choice(one) for one in elements]
    if len(set(texts)) < len(texts):
        raise UserError(f"{where} has the same choice twice in {', '.join(texts)}; name each once")
    if not texts:
        raise UserError(f"{where}: {override.input_line} matches no choice of the group; name them in choice(...)")
    values = [one if isinstance(one, bool | int | float) else text for one, text in zip(elements, texts, strict=True)]
    plain = [parsed(f"x={text}", where).value() for text in texts]
    return Choice(tuple(values), tuple(plain))


def text_of_choice(element: ParsedElementType) -> str:
    """A choice as an override writes it."""
    text = Transformer.str(element)
    if isinstance(element, str) and parsed(f"x={text}", text).value() != element:
        return QuotedString(element, Quote.single).with_quotes()  # Hydra has lost the quotes of choice('1')
    return text


def read_range(value: RangeSweep, where: str) -> Numbers:
    """`range(start, stop, step)`, where Hydra leaves `stop` out."""
    assert value.start is not None
    assert value.stop is not None
    start, stop, step = value.start, value.stop, value.step
    check_finite(where, start, stop, step)
    if not all(isinstance(number, int) for number in (start, stop, step)):
        start, stop, step = float(start), float(stop), float(step)
    count = math.ceil((stop - start) / step - 1e-9) if step else 0
    if count < 1:
        raise UserError(f"{where}: range({start}, {stop}, {step}) is empty; give a stop beyond its start")
    low, high = sorted((start, start + (count - 1) * step))
    numbers = Numbers(low, high, abs(step), is_log(value.tags, where))
    if numbers.log and not (numbers.whole and step == 1):
        raise UserError(f"{where}: a logarithmic range must be of whole numbers with a step of 1; use interval(...)")
    return check_log(numbers, where)


def read_interval(value: IntervalSweep, where: str) -> Numbers:
    """`interval(low, high)`, whole numbers with `int(interval(low, high))`."""
    assert value.start is not None
    assert value.end is not None
    check_finite(where, value.start, value.end)
    if not value.start < value.end:
        raise UserError(f"{where}: interval({value.start}, {value.end}) is empty; give the lower end first")
    return check_log(Numbers(value.start, value.end, log=is_log(value.tags, where)), where)


def is_log(tags: set[str], where: str) -> bool:
    """Whether the space is tagged as logarithmic; other tags are refused."""
    refuse_tags(tags - {"log"}, where, "a range or an interval")
    return "log" in tags


def refuse_tags(tags: set[str], where: str, what: str) -> None:
    """Raise UserError for tags that mean nothing here."""
    if tags:
        raise UserError(f"{where}: tag({sorted(tags)[0]}, ...) means nothing for {what}; only log, for numbers, does")


def check_finite(where: str, *numbers: int | float) -> None:
    """Raise UserError for bounds that are no finite numbers."""
    if wrong := [number for number in numbers if not math.isfinite(number)]:
        raise UserError(f"{where} must be bounded by finite numbers, got {wrong[0]}")


def check_log(numbers: Numbers, where: str) -> Numbers:
    """The numbers; raises UserError where they are logarithmic and not above 0."""
    if numbers.log and numbers.low <= 0:
        raise UserError(f"{where}: a logarithmic space must begin above 0, got {numbers.low}")
    return numbers
