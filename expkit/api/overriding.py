"""What a call says, as overrides of the command line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from expkit.command import override

Folders = str | Path | Sequence[str | Path]
"""One folder of configs, or several."""


def listed(folders: Folders) -> list[str]:
    """The folders of a `config_dir`."""
    return [str(folder) for folder in ([folders] if isinstance(folders, str | Path) else folders)]


def overrides_of(group: str, keys: Mapping[str, object]) -> list[str]:
    """Keyword arguments as overrides of the keys of a group."""
    return [
        override(f"{group}.{key}", str(value))
        if isinstance(value, str | Path)
        else f"{group}.{key}={json.dumps(value)}"
        for key, value in keys.items()
    ]


@contextmanager
def explaining() -> Iterator[None]:
    """Let what Hydra has against a config leave the block as a UserError, with the nearest spelling."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from expkit.config.composed import explain
    from expkit.errors import UserError

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error
