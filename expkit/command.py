"""Commands as a person pastes them: every word that expkit prints for a shell is quoted here."""

import shlex
from pathlib import Path


def pasted(*words: object) -> str:
    """A command of these words, quoted for a shell where it needs that."""
    return " ".join(quoted(str(word)) for word in words)


def quoted(word: str) -> str:
    """A word for a shell; in double quotes where single ones would have to be broken up."""
    broken = "'" in word and not set(word) & set('"$`\\!')
    return f'"{word}"' if broken else shlex.quote(word)


def command(*words: object) -> str:
    """The command line of expkit with these arguments: `command(f"resume={path}")`."""
    return pasted("python", "-m", "expkit", *words)


def shown(path: Path) -> Path:
    """A path as a person types it: from the working directory where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def override(key: str, text: str) -> str:
    """`key=text` in Hydra's grammar, quoted where the grammar would read something else in the text."""
    from hydra.core.override_parser.types import Quote, QuotedString  # a served model does without Hydra

    # A config would take ${ for the beginning of a reference.
    text = text.replace("${", r"\${")
    return f"{key}={text}" if means(text) else f"{key}={QuotedString(text, Quote.double).with_quotes()}"


def means(text: str) -> bool:
    """Whether a bare text is what Hydra reads in it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return bool(OverridesParser.create().parse_override(f"x={text}").value() == text)
    except HydraException:
        return False
