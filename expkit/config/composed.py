"""What Hydra composes, as expkit takes it: plain checked values, and errors in its own words."""

import re
from dataclasses import asdict
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from expkit.check import nearest
from expkit.command import pasted
from expkit.config.composition import expanded
from expkit.config.plan import plan
from expkit.config.schema import GROUPS, ROOT, Config, check_config
from expkit.errors import UserError
from expkit.secrets import as_written, resolved

NO_REFERENCE = re.compile(r"\$\{(?![\w.]+(:[^{}]*)?\})")
"""What looks like the beginning of a reference, such as ${oc.env:HOME}, and is none."""
QUOTED_KEY = re.compile(r"""["']([\w.]+)["'](?=\s*:)""")
"""A key of a mapping as JSON writes it, which Hydra does not read."""


def plain(composed: DictConfig | ListConfig) -> Config:
    """The composed config as checked plain values.

    Raises UserError for a missing or impossible value, naming its key.
    """
    try:
        values = resolved(composed)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no default: give it as {error.full_key}=VALUE") from None
    config = check_config({key: at_home(value) for key, value in values.items()})
    plan(config)
    return config


def written(config: Config, composed: DictConfig) -> dict[str, Any]:
    """A config as a run folder keeps it, `composed` being what it was made of: secrets stay references."""
    return as_written(asdict(config), composed)


def at_home(value: Any) -> Any:
    """Plain values in which a path that begins with ~ leads from the home directory."""
    if isinstance(value, dict):
        return {key: at_home(one) for key, one in value.items()}
    if isinstance(value, list):
        return [at_home(one) for one in value]
    return expanded(value) if isinstance(value, str) else value


def experiment(hydra: HydraConf | None = None) -> str:
    """The name of the experiment, or without one of the data, in Hydra's node; None: that of the job at hand."""
    return str((hydra or HydraConfig.get()).job.name)


def choices(hydra: HydraConf | None = None) -> dict[str, str]:
    """The choice of each group, in Hydra's node; None: those of the job at hand."""
    told = (hydra or HydraConfig.get()).runtime.choices
    return {group: str(told[group]) for group in GROUPS if told.get(group)}


def explain(error: Exception) -> str:
    """The message of an error, with the nearest spelling where a key or a choice does not exist."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice} is no choice of {group}; {nearest(choice, error.options)}"
    if isinstance(error, MissingConfigException):
        return str(error).partition("\n\n")[0].strip()
    if isinstance(error, OverrideParseException):
        return in_quotes(error)
    if match := re.match(r"Ambiguous value for argument '(.*)'\n", str(error)):
        key, _, value = match[1].partition("=")
        return (
            f"{match[1]} has a comma: for one run each add -m; for a list write {pasted(f'{key}=[{value}]')}; for "
            f"text with a comma, such as a path, write\n  {quoted(match[1])}"
        )
    if isinstance(error, InterpolationKeyError) and (name := re.search(r"key '(.*)' not found", str(error))):
        return (
            f"{error.full_key} refers to {name[1]}, which is no key of the config; a variable of the environment is "
            f"${{oc.env:{name[1]}}}, and for text that holds a ${{ write \\${{"
        )
    if match := re.match(r"Multiple values for (.+)\. To override a value use 'override (.+): (.+)'", str(error)):
        return f"{match[1]} has a choice, which is replaced without a plus sign: {pasted(f'{match[2]}={match[3]}')}"
    if match := re.match(r"In '(.+)': Could not override '(.+)'\. No match in the defaults list", str(error)):
        return f"{match[1]}.yaml, defaults: {match[2]} is no group that has a choice; {nearest(match[2], GROUPS)}"
    match = re.match(r"Could not override '([^']+)'", str(error))
    cause = error.__cause__
    if match and isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        missing = str(cause.key)
        above = match[1].split(".")
        key = ".".join(above[: above.index(missing) + 1]) if missing in above else match[1]
        keys = [str(name) for name in cause.parent_node]
        parent = key.rpartition(".")[0]
        owners = [name for name in keys if not parent and missing in keys_of(cause.parent_node._get_node(name))]
        hint = f"{owners[0]} has one of that name, {owners[0]}.{key}" if owners else nearest(missing, keys)
        return f"{key} is no key of {parent or 'the config'}; {hint}"
    if match and match[1] in ("experiment", "sweeps"):
        return f"write +{match[1]}=NAME, with a plus sign: it adds to the config"
    if match:
        groups = [path.name for path in (ROOT / "conf").iterdir() if path.is_dir()]
        return f"{match[1]} is neither a group nor a key of the config; {nearest(match[1], groups)}"
    if str(error).startswith("Error merging override") and isinstance(cause, OmegaConfBaseException):
        return f"{str(error).partition('override ')[2].strip()} does not do: {str(cause).splitlines()[0]}"
    if "does not support sweep type : INTERVAL_SWEEP" in str(error):
        return "interval(...) is searched by Optuna: add hydra/sweeper=expkit, or choose +sweeps=NAME"
    return str(error).strip()


def keys_of(node: object) -> list[str]:
    """The keys of a node of a config, none of a value."""
    return [str(key) for key in node] if isinstance(node, DictConfig) and not node._is_none() else []


def in_quotes(error: OverrideParseException) -> str:
    """The message for an override that Hydra cannot parse, with the line that says it right where quotes do."""
    override = str(error.override)
    key, sign, value = override.partition("=")
    reason = str(error).splitlines()[0].partition(": ")[0 if "input" in str(error).splitlines()[0] else 2]
    if not sign or not key:
        return (
            f"{override!r} is no override; write KEY=VALUE, or ~KEY to take one away (a value with a space in it "
            "stands between quotes within the shell's: 'KEY=\"my photos\"')"
        )
    bare = key + sign + QUOTED_KEY.sub(r"\1", value)
    if bare != override and parses(bare):
        return f"{override} is not written as Hydra reads it: keys stand there without quotes, as in\n  {pasted(bare)}"
    if value.startswith(("[", "{")) or "(" in value.split("/")[0]:
        return (
            f"{override} is not written as Hydra reads it ({reason or 'a quote or bracket is missing'}); a list is "
            f"KEY=[a,b], a mapping KEY={{a: 1}}, and text is put between quotes, as in\n  {quoted(override)}"
        )
    return f"{key} holds signs that Hydra reads as more than text: put them between quotes, as in\n  {quoted(override)}"


def parses(override: str) -> bool:
    """Whether Hydra reads an override."""
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def quoted(override: str) -> str:
    """An override whose value is text, as a shell takes it."""
    key, _, value = override.partition("=")
    bare = value.strip("\"'") if value[:1] in ("'", '"') or value[-1:] in ("'", '"') else value
    literal = NO_REFERENCE.sub(lambda found: "\\" + found[0], bare)
    text = f"{key}={QuotedString(literal, Quote.double).with_quotes()}"
    return pasted(text if parses(text) else f'{key}="..."')
