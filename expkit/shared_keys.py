"""Keyword arguments that several config functions share: said once, in a `TypedDict`, with default and meaning.

    class Decay(TypedDict, total=False):
        wd_bn_bias: Annotated[bool, Field(False, description="let biases and norm parameters decay too.")]

    def sgd(model, *, lr: Rates = 0.01, **decay: Unpack[Decay]): ...

A type checker reads this as it stands. `whole_signature` and `whole_doc` give the same to whoever asks at run time:
`help`, the completion of a notebook, and the check of a config.
"""

import inspect
import operator
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Unpack

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ARGS = "\n\nArgs:"
EMPTY = inspect.Parameter.empty


def whole_signature(function: Callable[..., object]) -> inspect.Signature:
    """The signature of `function`, each key of an unpacked TypedDict a keyword with its default; no `Field` is left."""
    signature = inspect.signature(function)
    return signature.replace(
        parameters=[p.replace(annotation=bare(p.annotation), default=default_of(p)) for p in parameters(signature)]
    )


def whole_doc(function: Callable[..., object]) -> str | None:
    """The docstring of `function`, with what the `Field` of a keyword says of it added to its arguments."""
    found = parameters(inspect.signature(function))
    lines = [in_lines(f"{one.name}: {text}") for one in found if (text := description_of(one))]
    doc = inspect.getdoc(function)
    if doc is None or not lines:
        return doc
    if ARGS not in doc:
        before, raises, after = doc.partition("\n\nRaises")
        doc = before + ARGS + raises + after
    before, _, section = doc.partition(ARGS)
    own, gap, after = section.partition("\n\n")
    return before + ARGS + "\n".join([own, *lines]) + gap + after


def parameters(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    """The parameters as they are written, and in place of an unpacked TypedDict its keys."""
    for parameter in signature.parameters.values():
        if typing.get_origin(parameter.annotation) is Unpack:
            (shared,) = typing.get_args(parameter.annotation)
            for key, annotation in typing.get_type_hints(shared, include_extras=True).items():
                yield inspect.Parameter(key, parameter.KEYWORD_ONLY, annotation=annotation)
        else:
            yield parameter


def default_of(parameter: inspect.Parameter) -> Any:
    """The default of a parameter, which stands in its `Field` if not behind it."""
    found = [one.default for one in fields(parameter.annotation) if one.default is not PydanticUndefined]
    return parameter.default if parameter.default is not EMPTY or not found else found[-1]


def description_of(parameter: inspect.Parameter) -> str | None:
    """What the `Field` of a parameter says that it means."""
    return next((one.description for one in reversed(fields(parameter.annotation)) if one.description), None)


def fields(annotation: Any) -> list[FieldInfo]:
    """The fields of an annotation."""
    return [one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, FieldInfo)]


def bare(annotation: Any) -> Any:
    """An annotation without its fields."""
    if not fields(annotation):
        return annotation
    kind, *metadata = typing.get_args(annotation)
    kind = kind.__forward_arg__ if isinstance(kind, typing.ForwardRef) else kind
    kept = [one for one in metadata if not isinstance(one, FieldInfo)]
    return operator.getitem(Annotated, (kind, *kept)) if kept else kind


def in_lines(text: str) -> str:
    """The entry of an argument in a docstring."""
    return textwrap.fill(text, 116, initial_indent="    ", subsequent_indent=" " * 8)
