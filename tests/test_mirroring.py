"""The mirroring law: conf/<group>/<name>.yaml names expkit.<group>.<function>, and its keys are that one's keywords."""

import inspect
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from expkit.check import keywords
from expkit.trust import resolve

CONF = Path(__file__).parents[1] / "conf"
FILES = sorted(path for path in CONF.glob("*/*.yaml") if path.parent.name != "experiment")


def name_of(path: Path) -> str:
    return str(path.relative_to(CONF))


@pytest.fixture(params=FILES, ids=name_of)
def mirrored(request):
    text = request.param.read_text()
    node = OmegaConf.to_container(OmegaConf.create(text))
    return request.param, text, node, resolve(node.pop("_target_"), name_of(request.param))


def test_the_target_lies_in_the_module_of_the_group(mirrored):
    path, text, _, _ = mirrored
    target = re.search(r"^_target_: (\S+)$", text, re.MULTILINE)
    assert target
    assert re.fullmatch(rf"expkit\.{path.parent.name}\.\w+", target[1])


def test_keys_are_all_keyword_arguments_with_their_defaults(mirrored):
    path, _, node, function = mirrored
    parameters = inspect.signature(function).parameters
    assert list(node) == list(keywords(function))
    for key, value in node.items():
        default = parameters[key].default
        if path.parent.name == "transfer":
            continue  # a recipe is made of its values
        if default is inspect.Parameter.empty:
            assert value == "???"
        else:
            assert value == (list(default) if isinstance(default, tuple) else default)


def test_every_key_has_a_comment_and_every_argument_a_description(mirrored):
    _, text, node, function = mirrored
    assert re.match(r"# python -m expkit ", text)
    for key in node:
        assert re.search(rf"^{key}:.*#|^#.*\n{key}:", text, re.MULTILINE), f"{key} has no comment"
        assert re.search(rf"\b{key}\b", inspect.getdoc(function) or ""), f"{key} is not in the docstring"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            assert parameter.annotation is not parameter.empty


def test_every_group_of_the_config_has_files():
    defaults = OmegaConf.load(CONF / "config.yaml").defaults
    groups = {next(iter(entry)) for entry in defaults if not isinstance(entry, str)} - {"override hydra/job_logging"}
    assert groups == {path.parent.name for path in FILES}
