"""Where the arrays of the `array` data come from: files, memory, or a trusted function."""

import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expkit.check import nearest
from expkit.errors import UserError

IMAGE_NAMES = ("images", "data")
LABEL_NAMES = ("labels", "target")
"""What the arrays are called where the config does not say: in an `.npz` file or in a data set of scikit-learn."""

OTHERS = (".h5", ".hdf5", ".mat", ".pt", ".pth", ".pkl", ".pickle", ".csv", ".parquet", ".zarr", ".tfrecord", ".zip")
"""Files that a person gives for an `.npz` file."""


def load_source(source: Any) -> Mapping[str, Any]:
    """The named arrays of a source: an `.npz` file, a trusted function by dotted name or as `{_target_: name, ...}`,
    a mapping such as scikit-learn's data sets, a pair (images, labels), or nothing.

    Raises UserError if the source cannot be read, is not trusted or holds something else.
    """
    if source is None:
        return {}
    if isinstance(source, str):
        if source.endswith(".npz"):
            archive: Mapping[str, Any] = load_file(source, "data.source")
            return archive
        if source.endswith(".npy"):
            raise UserError(f"data.source: {source} is a single array; name it as data.images")
        if "/" in source or source.endswith(OTHERS):
            raise UserError(
                f"data.source: {source} is no .npz file; write the arrays to one, as with "
                "numpy.savez('data.npz', images=IMAGES, labels=LABELS)"
            )
        source = call_trusted(source, {})
    elif isinstance(source, Mapping) and "_target_" in source:
        arguments = dict(source)
        source = call_trusted(arguments.pop("_target_"), arguments)
    elif callable(source):
        source = call(source, {}, getattr(source, "__name__", repr(source)))
    if isinstance(source, Mapping):
        return source
    if isinstance(source, tuple) and len(source) == 2:
        return dict(zip(("images", "labels"), source, strict=True))
    raise UserError(
        f"data.source gave a {type(source).__name__}, expected an .npz file or a function that returns named arrays "
        "(as sklearn.datasets.load_digits does) or a pair (images, labels)"
    )


def call_trusted(name: str, arguments: Mapping[str, Any]) -> Any:
    """Call the function that a config names, if it is one that configs may call."""
    from expkit.trust import resolve

    function = resolve(name, "data.source", ["sklearn.datasets"])
    if not callable(function):
        raise UserError(f"data.source: {name} is no function")
    return call(function, arguments, name)


def call(function: Callable[..., Any], arguments: Mapping[str, Any], name: str) -> Any:
    """Call a data function; whatever goes wrong in it (arguments, network) is told with its name."""
    try:
        return function(**arguments)
    except Exception as error:
        raise UserError(f"data.source: {name} failed: {type(error).__name__}: {error}") from error


def load_file(path: str, key: str) -> Any:
    """An `.npy` file, memory-mapped, or the arrays of an `.npz` file; never a pickle, which could run code."""
    try:
        return np.load(path, mmap_mode="r" if path.endswith(".npy") else None, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{key}: {os.path.abspath(path)} does not exist") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{key}: {path} cannot be read as a NumPy file: {error}") from error


def pick(value: Any, arrays: Mapping[str, Any], defaults: tuple[str, ...], key: str) -> NDArray[Any]:
    """The array that a key means: the array itself, an `.npy` file, a name in the source, or the usual name there.

    Raises UserError if there is no such array, with the names that there are.
    """
    if value is None:
        value = next((name for name in defaults if name in arrays), None)
    if value is None:
        has = f"data.source has {', '.join(map(str, arrays))}" if arrays else "there is no data.source"
        raise UserError(f"{key} is missing: give an array, an .npy file, or a name in data.source; {has}")
    if isinstance(value, str):
        if value in arrays:
            return from_source(arrays, value, key)
        if value.endswith(".npy"):
            return np.asanyarray(load_file(value, key))
        hint = nearest(value, map(str, arrays)) if arrays else "there is no data.source to look it up in"
        raise UserError(f"{key}: {value!r} is no .npy file and no array of data.source; {hint}")
    try:
        return np.asanyarray(value)
    except ValueError:
        raise UserError(f"{key} holds arrays of different shapes; bring them to one") from None


def from_source(arrays: Mapping[str, Any], name: str, key: str) -> NDArray[Any]:
    """One array of the source; an `.npz` file reads it only now."""
    try:
        return np.asanyarray(arrays[name])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{key}: the array {name!r} of data.source cannot be read: {error}") from error
