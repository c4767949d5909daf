"""Files of a run folder that hold JSON or YAML of another kind than expkit wrote are told of in a sentence."""

import json
import re

import pytest

from expkit.config.edited import heed_edits
from expkit.config.files import load_yaml
from expkit.errors import UserError
from expkit.grid.tracked import row_of
from expkit.json_shapes import point_of
from expkit.run_folder import RunFolder, is_record
from expkit.task.training import tell
from expkit.tracking.nested import end_of
from expkit.whole_files import read_json, write_json
from tests.tracking.runs import new_run

OTHERS = (None, 5, "x", [], {}, True, [1], {"a": 1})
"""Values of every kind."""


@pytest.fixture
def run(tmp_path):
    """A finished run, as far as its JSON goes."""
    folder = new_run(tmp_path / "run", "pets", tags={"a": "b"}, params={"trial": 1})
    values = {"valid_loss": 0.5, "valid_accuracy": None}
    write_json(
        folder.result,
        {
            "objective": {"name": "valid_loss", "value": 0.5},
            "metrics": {"last": values, "best": values, "tta": values},
            "best_epoch": 1,
            "seconds": 3.0,
            "images_per_second": 10,
        },
    )
    write_json(folder.path / "end.json", {"status": "FINISHED", "time": 5, "tags": {}})
    return folder


def changed(content, path, value):
    """A copy of nested keys with another value at the place."""
    key, *rest = path
    return {**content, key: changed(content[key], rest, value) if rest else value}


def places(content, path=()):
    """Every key of nested ones."""
    for key, value in content.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("name", ["run.json", "result.json", "end.json"])
def test_a_value_of_any_other_kind_is_read_or_refused_by_name(run, name):
    content, told = read_json(run.path / name), []
    for place in places(content):
        for value in OTHERS:
            write_json(run.path / name, changed(content, place, value))
            try:
                RunFolder.at(run.path)
                row_of(run.path, set())
                end_of(run.path)
                tell(run, None)
            except UserError as error:
                told.append(str(error))
    assert len(told) > 15
    sentence = re.compile(re.escape(f"{run.path / name} ") + "(is damaged|lacks) .*: put a whole copy in its place")
    assert [one for one in told if not sentence.fullmatch(one)] == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("run.json", '["experiment"]', "damaged (no JSON object)"),
        ("run.json", "[" * 100_000, "damaged (no JSON object)"),
        ("run.json", '{"experiment": 5}', "damaged (experiment must be text, got 5)"),
        ("run.json", '{"experiment": "pets"}', "lacks 'started_in'"),
        ("run.json", '{"started_in": "."}', "lacks 'experiment'"),
        ("result.json", '{"objective": 5}', "damaged (objective must be keys and values, got 5)"),
        ("result.json", '{"objective": {"value": 1}}', "damaged (it lacks objective.name)"),
        ("result.json", '{"objective": null}', "damaged (objective must be keys and values, got None)"),
        ("result.json", "{}", "lacks 'metrics'"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(run, name, text, told):
    (run.path / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{run.path / name} {'is ' * told.startswith('damaged')}{told}")):
        RunFolder.at(run.path) if name == "run.json" else tell(run, None)


def test_a_folder_in_the_place_of_a_file_is_named(run):
    run.facts.unlink()
    run.facts.mkdir()
    with pytest.raises(UserError, match=r"run\.json cannot be read \(Is a directory\)"):
        RunFolder.at(run.path)
    assert not is_record(run.path)


def test_a_progress_of_tracking_that_is_none_may_be_removed(run):
    run.tracking.write_text('{"uri": ["sqlite:///runs.db"]}')
    with pytest.raises(
        UserError, match=r"uri must be text, got \['sqlite.*or remove it, and everything is sent to track"
    ):
        read_json(run.tracking)


@pytest.mark.parametrize("temperature", [-1, 0, "NaN"])
def test_a_temperature_that_turns_predictions_over_is_refused(tmp_path, temperature):
    (tmp_path / "calibration.json").write_text(f'{{"temperature": {temperature}}}')
    with pytest.raises(UserError, match=r"calibration\.json is damaged \(temperature must be "):
        read_json(tmp_path / "calibration.json")


@pytest.mark.parametrize(
    "point",
    [
        [],
        5,
        {},
        {"name": "a", "value": 1.0, "step": 0},
        {"name": 5, "value": 1.0, "step": 0, "timestamp": 1},
        {"name": "a", "value": "1", "step": 0, "timestamp": 1},
        {"name": "a", "value": 1.0, "step": True, "timestamp": 1},
        {"name": "a", "value": 1.0, "step": 0, "timestamp": None},
    ],
)
def test_a_line_of_metrics_of_another_kind_is_refused(point):
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 3, is damaged .*put a whole copy"):
        point_of(json.dumps(point).encode() + b"\n", "metrics.jsonl, line 3,")


@pytest.mark.parametrize("text", ["5\n", "[1]\n", "a: [\n", "\0\n"])
def test_a_config_that_holds_no_keys_is_named(run, text):
    run.config.write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml"):
        load_yaml(run.config)


@pytest.mark.parametrize("text", ["null\n", "seed\n", "seed: {a: 1}\nepochs: []\n"])
def test_a_config_of_other_kinds_is_no_traceback(run, text):
    run.config.write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml"):
        heed_edits(run, [])
