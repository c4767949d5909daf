"""Secrets in a config: files keep what refers to them, `${oc.env:NAME}`, and not what that stands for."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from expkit.errors import UserError
from expkit.urls import hide

log = logging.getLogger("expkit")

NAMES = re.compile(r"oc\.env:\s*\w*(PASS|PW|TOKEN|SECRET|KEY|CREDENTIAL|AUTH)", re.IGNORECASE)
"""Environment variables whose names say what they hold."""


def resolved(node: DictConfig | ListConfig) -> dict[str, Any]:
    """A config as plain values, its references resolved.

    Raises UserError that names an environment variable that is not set, MissingMandatoryValue where a value is ???.
    """
    try:
        values = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except InterpolationResolutionError as error:
        found = re.search(r"Environment variable '(\w+)' not found", str(error))
        if found is None:
            raise
        raise UserError(
            f"{error.full_key} refers to the environment variable {found[1]}, which is not set: set it first, with  "
            f"export {found[1]}=..."
        ) from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def as_written(values: Mapping[str, Any], composed: DictConfig) -> dict[str, Any]:
    """Plain values of a composed config as a file keeps them: secrets as the references that stood for them.

    All else is resolved: what `${now:...}` or `${oc.env:DATA}` gave must not change on a resume.
    """
    raw = OmegaConf.to_container(composed, resolve=False)
    secrets = {str(value) for value, text in leaves(values, raw) if is_secret(value, text)}
    if isinstance(raw, dict) and "oc.env:" in str(raw.get("tracking")):
        secrets |= {str(value) for value, text in leaves(values["tracking"], raw["tracking"]) if "oc.env:" in str(text)}
    return {key: kept(value, part(raw, key), secrets - {""}) for key, value in values.items()}


def typed_overrides(hydra: Any) -> list[str]:
    """The overrides of the task in Hydra's node as they were typed, references unresolved, without passwords."""
    found = OmegaConf.to_container(hydra.overrides, resolve=False)
    assert isinstance(found, dict)
    return [hide(str(override)) for override in found["task"]]


def is_secret(value: object, text: object) -> bool:
    """Whether a reference to the environment gave a password, by the look of the value or the variable's name."""
    given = isinstance(text, str) and "oc.env:" in text
    return given and (hide(str(value)) != str(value) or bool(NAMES.search(str(text))))


def kept(value: Any, text: Any, secrets: set[str]) -> Any:
    """A value, or its reference where it holds a secret."""
    if isinstance(text, str) and "${" in text and any(secret in str(value) for secret in secrets):
        return text
    if isinstance(value, Mapping):
        return {key: kept(one, part(text, key), secrets) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [kept(one, part(text, number), secrets) for number, one in enumerate(value)]
    return value


def leaves(value: Any, text: Any) -> Sequence[tuple[Any, Any]]:
    """The leaves of nested values, each with what is written for it."""
    if isinstance(value, Mapping) and isinstance(text, Mapping):
        return [leaf for key, one in value.items() for leaf in leaves(one, text.get(key))]
    if isinstance(value, list | tuple) and isinstance(text, list):
        return [leaf for one, own in zip(value, text, strict=False) for leaf in leaves(one, own)]
    return [(value, text)]


def part(text: Any, key: Any) -> Any:
    """What is written for a key or at a place of a list, None where that is not told."""
    if isinstance(text, Mapping):
        return text.get(key)
    return text[key] if isinstance(text, list) and isinstance(key, int) and key < len(text) else None


@contextmanager
def without_passwords(path: Path) -> Iterator[Path]:
    """A file that many may read: the file itself, or a copy in which the passwords of URLs are hidden."""
    text = path.read_text(encoding="utf-8") if path.suffix in (".yaml", ".json", ".csv", ".log") else ""
    if hide(text) == text:
        yield path
        return
    with TemporaryDirectory() as place:
        (Path(place) / path.name).write_text(hide(text), encoding="utf-8")
        yield Path(place) / path.name


class HidingFormatter(logging.Formatter):
    """Formats log lines, those of exceptions too, without the passwords of URLs."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines."""
        return hide(super().format(record))


def warn_of_password(text: str, path: Path) -> None:
    """Say that a file has to keep a password that somebody typed."""
    if hide(text) != text:
        log.warning("%s keeps a password of the config as it is: write it as ${oc.env:NAME}", path)
