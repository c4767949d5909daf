"""Arguments checked against the annotations of the function that takes them.

A function that a config can call takes what the wiring hands it by position and its config keys by keyword only.
The annotation of a keyword is the one place that says which values it may have: `pct_start: Fraction = 0.25`.
`check_arguments` reads it to refuse a config before anything is built; `@checked` holds it for direct callers too.
"""

import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from annotated_types import Ge, Gt, Le, Len, Lt, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from expkit.errors import UserError
from expkit.registry import entered
from expkit.shared_keys import whole_doc, whole_signature

P = ParamSpec("P")
R = TypeVar("R")

Fraction = Annotated[float, Gt(0), Lt(1)]
"""A share that may be neither nothing nor all, such as `valid_pct`."""
Portion = Annotated[float, Ge(0), Lt(1)]
"""A share that may be nothing, such as a dropout probability or a momentum."""
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
NotNegativeInt = Annotated[int, Ge(0)]


MOST_LISTED, MOST_COMPARED, MOST_LETTERS = 40, 10_000, 100
"""What `nearest` lists of the names, compares whatever their first letter, and looks at of a word."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Make a config function of `function`: a config may name it, and its arguments are checked at each call."""
    return entered(checks_arguments(function))


def checks_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Check the keyword-only arguments of `function` at each call, so that a notebook gets the errors of a config.

    Keys of a TypedDict that it unpacks (`expkit.shared_keys`) become keywords of its signature, with their defaults.
    Raises UserError at a call with a value that the annotation does not allow.
    """
    signature = whole_signature(function)
    shared = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if name not in inspect.signature(function).parameters
    }

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if shared:  # the function itself would take a misspelt key, and pass it on
            signature.bind(*args, **kwargs)
        for key, annotation in keywords(wrapper).items():
            if key in kwargs:
                check_value(key, kwargs[key], annotation)
        return function(*args, **{**shared, **kwargs})

    vars(wrapper)["__signature__"] = signature
    wrapper.__doc__ = whole_doc(function)
    return wrapper


def check_arguments(function: Callable[..., object], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keys of `function`, those that `values` leaves out at their defaults.

    Refuses keys that are no keyword-only argument of it, missing ones, and values out of bounds.
    `where` is the dotted path of the config node, put in front of each key in the messages; empty at the top.
    """
    check_given(function, values, where)
    known = keywords(function)
    dot = f"{where}." if where else ""
    for key, parameter in inspect.signature(function).parameters.items():
        if key in known and parameter.default is parameter.empty and key not in values:
            raise UserError(f"{dot}{key} is missing; it must be {describe(known[key])}")
    return {**defaults(function), **values}


def check_given(function: Callable[..., object], values: Mapping[str, Any], where: str) -> None:
    """Refuse keys and values as `check_arguments` does, where not all keys need be there."""
    known = keywords(function)
    dot = f"{where}." if where else ""
    for key, value in values.items():
        if key not in known:
            hint = nearest(key, known)
            if key in inspect.signature(function).parameters and not function.__module__.startswith("expkit."):
                hint = f"{function.__name__} takes it by position: keys are the arguments after a * in its signature"
            raise UserError(f"{dot}{key} is no key of {where or 'the config'}; {hint}")
        check_value(f"{dot}{key}", value, known[key])


def check_value(name: str, value: object, annotation: Any) -> None:
    """Raise UserError, naming `name`, unless `value` fits `annotation` (strictly: "3" is no number, 1 no boolean)."""
    try:
        adapter(annotation).validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        inner = "".join(f"[{part!r}]" for part in problem["loc"]) if only_nested(annotation) else ""
        found = problem["input"] if inner else value
        hint = ""
        if isinstance(value, str) and (choices := literals(annotation)):
            hint = f"; {nearest(value, choices)}"
        elif isinstance(value, bool | int | float) and "text" in describe(annotation).split(" or "):
            hint = f"; a name that looks like one stands between quotes: '{name}=\"{str(value).lower()}\"'"
        what = describe(annotation)
        raise UserError(f"{name} must be {what}, got {found!r}{' at ' + inner if inner else ''}{hint}") from None


def keywords(function: Callable[..., object]) -> dict[str, Any]:
    """Names and annotations of the keyword-only arguments of `function`: the keys of its config."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: Any if p.annotation is p.empty else p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}


def defaults(function: Callable[..., object]) -> dict[str, Any]:
    """The defaults of the keyword-only arguments of `function`, as a config has them: a list for a tuple."""
    found = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    return {
        key: [*value] if isinstance(value, tuple) else value
        for key, value in found.items()
        if value is not inspect.Parameter.empty
    }


def nearest(word: str, known: Iterable[str]) -> str:
    """Say what to write instead of `word`: the closest of `known` whatever its case, or all of them, if they are few.

    It takes some milliseconds for each thousand of `known`: ask for the few words that are shown.
    """
    known = list(known)
    spelt: dict[str, str] = {}
    for name in known:
        spelt.setdefault(name.casefold(), name)
    folded = word[:MOST_LETTERS].casefold()
    among = spelt if len(spelt) <= MOST_COMPARED else [name for name in spelt if name[:1] == folded[:1]]
    close = [folded] if folded in spelt else difflib.get_close_matches(folded, among, n=1, cutoff=0.6)
    if close:
        return f"did you mean {spelt[close[0]]!r}?"
    names = sorted(known)
    left = len(names) - MOST_LISTED
    return f"it has {', '.join(names[:MOST_LISTED]) or 'no keys'}{f' and {left} more' if left > 0 else ''}"


@functools.cache
def adapter(annotation: Any) -> TypeAdapter[Any]:
    """The validator of `annotation`, built once."""
    return TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True))


WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


def describe(annotation: Any) -> str:
    """Say in words what an annotation allows: `Annotated[float, Gt(0), Lt(1)]` is "a number above 0 and below 1"."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        bounds = [text for bound in annotation.__metadata__ if (text := describe_bound(bound))]
        return f"{describe(args[0])} {' and '.join(bounds)}".strip()
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(arg) for arg in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin in (list, tuple, set) or (origin is not None and issubclass(origin, typing.cast(type, Iterable))):
        if origin is dict or issubclass(origin, Mapping):
            return "keys and values" if not args or args[1] is Any else f"keys with {describe(args[1])} each"
        return f"a list (each {describe(args[0])})" if args else "a list"
    if is_typeddict(annotation):
        return "{" + ", ".join(f"{key}: {describe(hint)}" for key, hint in annotation.__annotations__.items()) + "}"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def describe_bound(bound: object) -> str:
    """One bound of an annotation in words, empty for metadata that bounds nothing."""
    match bound:
        case Gt(gt=low):
            return f"above {low}"
        case Ge(ge=low):
            return f"of at least {low}"
        case Lt(lt=high):
            return f"below {high}"
        case Le(le=high):
            return f"of at most {high}"
        case Len(min_length=low, max_length=high) if high is not None:
            return f"with {low} entries" if low == high else f"with {low} to {high} entries"
        case Len(min_length=low) | MinLen(min_length=low):
            return f"with at least {low} entries"
    return ""


def literals(annotation: Any) -> list[str]:
    """All words that an annotation allows by `Literal`, for the nearest spelling."""
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        return [arg for arg in args if isinstance(arg, str)]
    return [word for arg in args for word in literals(arg)]


def only_nested(annotation: Any) -> bool:
    """Whether an error's location inside the value means something to the user (a plain list or mapping)."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return only_nested(typing.get_args(annotation)[0])
    return origin not in (None, typing.Union, types.UnionType, Literal)
