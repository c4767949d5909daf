"""Mistakes in a user's own config files, told with the file, the line and what to write."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from hydra.plugins.config_source import ConfigSource
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from expkit.check import nearest
from expkit.config.schema import GROUPS, KEYS, ROOT
from expkit.errors import UserError

GLOBAL = ("experiment", "sweeps")
"""Groups whose files set keys of the whole config."""
NODES = (*GROUPS, "objective", "lr_find", "hydra")
"""The keys of the whole config that hold keys themselves."""
NO_COLON = re.compile(r"(override\s+/?\w[\w/]*)\s*[:=]?\s*(\w*)")
"""An entry of defaults that chooses, but for its colon and space."""
HEADER = "# @package _global_"

HINTS = {
    "'\\t'": "indent with spaces",
    "found character '@'": "put the text between quotes",
    "found character '%'": "put the text between quotes",
    "found character '`'": "put the text between quotes",
    "duplicate key": "give each key once",
    "mapping values are not allowed": "check the indentation, and put text with a colon in it between quotes",
    "undefined alias": "put text that begins with * or & between quotes",
    "escape character": "put text with backslashes between single quotes",
    "end of stream": "close the quote or bracket that was opened",
    "<stream end>": "close the quote or bracket that was opened",
    "unhashable key": "give the key as text",
    "constructor for the tag": "leave out what begins with an exclamation mark",
    "another document": "leave out the line ---",
}


def check_file(file: Path, config_path: str) -> None:
    """Look at a config file of the user's; `config_path` is what Hydra calls it: `experiment/mine`.

    Raises UserError with the file and the line of what is wrong.
    """
    if file.is_relative_to(ROOT):
        return
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(unreadable(file, error)) from None
    if text.startswith("\ufeff"):
        raise UserError(f"{file}, line 1: the file begins with a byte order mark; save it as UTF-8 without one")
    group = config_path.rpartition("/")[0]
    if group in GLOBAL and not has_header(text):
        raise UserError(f"{file}, line 1: a file in {group}/ sets keys of the whole config; begin it with\n{HEADER}")
    if root is None:
        return
    if not isinstance(root, MappingNode):
        raise UserError(f"{at(file, root)}: a config holds lines KEY: VALUE, got {kind(root)}")
    check_keys(file, root)
    if group in GLOBAL or group == "":
        check_defaults(file, root)
        check_top(file, root)


def has_header(text: str) -> bool:
    """Whether a file says, as Hydra reads it, that its keys are those of the whole config."""
    try:
        return ConfigSource._get_header_dict(text)["package"] == "_global_"
    except ValueError:  # other lines of that form
        return False


def unreadable(file: Path, error: Exception) -> str:
    """The message for a file that YAML, OmegaConf or Hydra cannot read."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, UnicodeDecodeError):
        return f"{file}, byte {error.start}: the file is not UTF-8; save it as that"
    advice = [hint for words, hint in HINTS.items() if words in problem]
    key = getattr(error, "full_key", None)
    line = f", line {mark.line + 1}" if mark else f", {key}" if key else ""
    return f"{file}{line}: {problem}; {advice[0] if advice else 'mend it, or put the text between quotes'}"


def load_yaml(file: Path) -> DictConfig:
    """The config in a YAML file. Raises UserError, with the line, where there is none."""
    try:
        config = OmegaConf.load(file)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(unreadable(file, error)) from error
    except OSError as error:  # also how OmegaConf refuses a file that holds a number alone
        raise UserError(
            f"{file} cannot be read ({error.strerror or error}); a config holds lines KEY: VALUE"
        ) from error
    if not isinstance(config, DictConfig):
        raise UserError(f"{file} holds a list; a config holds lines KEY: VALUE")
    return config


def check_keys(file: Path, node: Node) -> None:
    """Raise UserError for keys that YAML does not take for text: null, on, yes."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            meaning = key.tag.rpartition(":")[2]
            if meaning in ("null", "bool"):
                name = f"the key {key.value}" if key.value else "a key without a name"
                raise UserError(f"{at(file, key)}: YAML takes {name} for {meaning}; write a name between quotes")
            check_keys(file, value)
    elif isinstance(node, SequenceNode):
        for value in node.value:
            check_keys(file, value)


def check_defaults(file: Path, root: MappingNode) -> None:
    """Raise UserError for entries of `defaults` that choose nothing."""
    for key, defaults in entries(root):
        if key.value != "defaults":
            continue
        if not isinstance(defaults, SequenceNode):
            raise UserError(f"{at(file, key)}: defaults is a list; write its entries as\n  - override /optim: sgd")
        for entry in defaults.value:
            check_entry(file, entry)


def check_entry(file: Path, entry: Node) -> None:
    """Raise UserError for an entry of `defaults` that chooses nothing."""
    where = at(file, entry)
    if isinstance(entry, ScalarNode) and (found := NO_COLON.match(entry.value)):
        said = f"{found[1]}: {found[2] or 'NAME'}"
        raise UserError(f"{where}: after a group stand a colon and a space; write\n  - {said}")
    if not isinstance(entry, MappingNode):
        return
    if len(entry.value) > 1:
        raise UserError(f"{where}: begin each entry of defaults with a dash of its own")
    ((name, choice),) = entry.value
    *words, group = name.value.split(" ")
    if group.lstrip("/") not in GROUPS:
        return
    if isinstance(choice, ScalarNode) and "null" in choice.tag:
        raise UserError(f"{where}: {name.value} names no choice; write\n  - override /{group.lstrip('/')}: NAME")
    if not ("override" in words and group.startswith("/")):
        what = choice.value if isinstance(choice, ScalarNode) else "NAME"
        raise UserError(
            f"{where}: {name.value} replaces no choice of the base config; write\n"
            f"  - override /{group.lstrip('/')}: {what}"
        )


def check_top(file: Path, root: MappingNode) -> None:
    """Raise UserError for keys of the whole config that there are not, or that hold something else than keys."""
    for key, value in entries(root):
        head, _, rest = key.value.partition(".")
        if rest and head in (*KEYS, "hydra"):
            raise UserError(f"{at(file, key)}: a file has no dots in its keys; write\n{nested(key.value)} ...")
        if key.value not in (*KEYS, "hydra", "defaults"):
            raise UserError(f"{at(file, key)}: {key.value} is no key of the config; {nearest(key.value, KEYS)}")
        if key.value in NODES:
            check_node(file, key, value)
            inner = {"transfer": "phases", "hydra": "sweeper"}.get(key.value)
            for name, below in entries(value):
                if name.value == inner:
                    check_node(file, name, below)
                    for one, deepest in entries(below):
                        if inner == "phases" or one.value == "params":
                            check_node(file, one, deepest)


def check_node(file: Path, key: ScalarNode, value: Node) -> None:
    """Raise UserError unless a key holds keys."""
    if isinstance(value, MappingNode) or (isinstance(value, ScalarNode) and value.value.startswith("${")):
        return
    given = value.value if isinstance(value, ScalarNode) and "null" not in value.tag else None
    if key.value in GROUPS and given:
        advice = f"to choose {given}, write under defaults\n  - override /{key.value}: {given}"
    else:
        advice = "write each on a line of its own, KEY: VALUE, indented and without a dash, or leave it out"
    raise UserError(f"{at(file, key)}: {key.value} holds keys, got {kind(value)}; {advice}")


def nested(key: str) -> str:
    """A dotted key as lines of YAML."""
    return "\n".join(f"{'  ' * depth}{part}:" for depth, part in enumerate(key.split(".")))


def entries(node: Node) -> Iterator[tuple[ScalarNode, Node]]:
    """Keys and values of a mapping, none of anything else."""
    return iter(node.value if isinstance(node, MappingNode) else [])


def kind(node: Node) -> str:
    """What a node of YAML is, in words."""
    if isinstance(node, SequenceNode):
        return "a list"
    return "nothing" if "null" in node.tag else f"{node.value!r}"


def at(file: Path, node: Node) -> str:
    """Where a node of YAML stands."""
    return f"{file}, line {node.start_mark.line + 1}"
