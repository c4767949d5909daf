"""Mistakes in a user's own config files: the file, the line and what to write."""

from pathlib import Path

import pytest
from hydra.errors import HydraException

from expkit.command_line.hydra_line import compose
from expkit.config.composed import explain
from expkit.config.files import load_yaml
from expkit.errors import UserError

HEADER = "# @package _global_\n"
MISTAKES = {
    f"{HEADER}optim:\n\tlr: 1\n": r"line 3: .*'\\t'.*; indent with spaces",
    f"{HEADER}optim:\n  lr: 1\n   wd: 2\n": r"line 4: mapping values .*; check the indentation",
    f"{HEADER}epochs: 1\nepochs: 2\n": r"line 3: found duplicate key epochs; give each key once",
    f"{HEADER}data:\n  root: @home\n": r"line 3: .*'@'.*; put the text between quotes",
    f"{HEADER}optim: {{lr: 0.1\n": r"line 3: .*; close the quote or bracket",
    f"{HEADER}epochs: ${{a\n": r"mine\.yaml, epochs: .*between quotes",
    f"{HEADER}~: 3\n": r"line 2: YAML takes the key ~ for null; write a name between quotes",
    f"{HEADER}data: {{class_names: {{no: x}}}}\n": r"line 2: YAML takes the key no for bool",
    "epochs: 1\n": rf"line 1: a file in experiment/ .*begin it with\n{HEADER.strip()}$",
    f"# words\n{HEADER}epochs: 1\n": r"line 1: .*begin it with",
    "# @package global\nepochs: 1\n": r"line 1: .*begin it with",
    f"{HEADER}defaults:\n  - optim: sgd\n": r"line 3: optim replaces .*write\n  - override /optim: sgd$",
    f"{HEADER}defaults:\n  - override optim: sgd\n": r"line 3: .*write\n  - override /optim: sgd$",
    f"{HEADER}defaults:\n  override /optim: sgd\n": r"line 2: defaults is a list",
    f"{HEADER}defaults:\n  - override /optim: sgd\n    override /data: pets\n": r"line 3: begin each entry .* a dash",
    f"{HEADER}optim: sgd\n": r"line 2: optim holds keys, got 'sgd'; to choose sgd.*\n  - override /optim: sgd$",
    f"{HEADER}optim:\n": r"line 2: optim holds keys, got nothing",
    f"{HEADER}optim:\n- lr: 1\n": r"line 2: optim holds keys, got a list; .*without a dash",
    f"{HEADER}- epochs: 1\n": r"line 2: a config holds lines KEY: VALUE, got a list",
    f"{HEADER}transfer:\n  phases:\n  - head\n": r"line 3: phases holds keys, got a list",
    f"{HEADER}hydra:\n  sweeper:\n    params: [a]\n": r"line 4: params holds keys, got a list",
    f"{HEADER}optim.lr: 3\n": r"line 2: a file has no dots in its keys; write\noptim:\n  lr: \.\.\.$",
    f"{HEADER}defaults:\n  - override /optim:sgd\n": r"line 3: .* colon and a space; write\n  - override /optim: sgd$",
    f"{HEADER}defaults:\n  - override /optim\n": r"line 3: .*write\n  - override /optim: NAME$",
    f"{HEADER}defaults:\n  - override /optim:\n": r"line 3: .* names no choice; write\n  - override /optim: NAME$",
    f"\ufeff{HEADER}epochs: 1\n": r"line 1: .* byte order mark; save it as UTF-8 without",
    "": r"line 1: .*begin it with",
    f"{HEADER}epoch: 1\n": r"line 2: epoch is no key of the config; did you mean 'epochs'\?",
}


@pytest.mark.parametrize("group", ["experiment", "sweeps"])
@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_with_its_line(tmp_path, text, group):
    file = tmp_path / group / "mine.yaml"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(UserError, match=MISTAKES[text].replace("experiment/", f"{group}/")) as refused:
        compose(f"+{group}=mine", folders=[str(tmp_path)])
    assert str(refused.value).startswith(f"{file}, ")


def test_a_file_of_a_group_too(tmp_path):
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "mine.yaml").write_text("- lr: 1\n")
    with pytest.raises(UserError, match=r"mine\.yaml, line 1: a config holds lines KEY: VALUE"):
        compose("optim=mine", folders=[str(tmp_path)])
    (tmp_path / "optim" / "other.yml").write_text("lr: 1\n")
    with pytest.raises(UserError, match=r"optim/other\.yml: config files end in \.yaml; rename it"):
        compose("optim=other", folders=[str(tmp_path)])


def test_healthy_files_are_taken(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "\n#@package _global_\n# words\ndefaults:\n  - digits\n  - override /optim: sgd\n  - _self_\n"
        "epochs: ${oc.decode:'3'}\noptim: {lr: [0.1, 0.2, 0.3]}\ndata:\n  class_names: {1: a, 'no': b}\n"
    )
    (tmp_path / "experiment" / "empty.yaml").write_text(HEADER)
    config = compose("+experiment=mine", folders=[str(tmp_path)])
    assert (config.epochs, config.optim._target_) == (3, "expkit.optim.sgd")
    compose("+experiment=empty", folders=[str(tmp_path)])


def test_a_choice_of_no_group_has_its_nearest_spelling(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "a.yaml").write_text(f"{HEADER}defaults:\n  - override /optims: sgd\n")
    with pytest.raises(HydraException) as refused:
        compose("+experiment=a", folders=[str(tmp_path)])
    assert explain(refused.value).startswith(
        "experiment/a.yaml, defaults: optims is no group that has a choice; did you"
    )


def test_files_that_name_each_other_are_told(tmp_path):
    (tmp_path / "experiment").mkdir()
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / "experiment" / f"{one}.yaml").write_text(f"{HEADER}defaults:\n  - {other}\n")
    with pytest.raises(UserError, match=r"the defaults of experiment/a, experiment/b lead in a circle"):
        compose("+experiment=a", folders=[str(tmp_path)])


def test_the_config_of_a_run_that_was_edited_has_its_line(tmp_path):
    file = Path(tmp_path, "config.yaml")
    file.write_text("epochs: 3\n\tseed: 1\n")
    with pytest.raises(UserError, match=r"config\.yaml, line 2: .*indent with spaces"):
        load_yaml(file)
