"""What the store is told of an end, and what the log keeps of it."""

import pytest

from expkit.errors import Diverged, UserError
from expkit.interrupt import Interrupted
from expkit.logs import logging_to
from expkit.run_folder import RunFolder
from expkit.tracking.ending import tracked
from expkit.whole_files import read_json
from tests.tracking.runs import runs_of


class Pruned(Exception):
    pass


ENDS = (
    (None, None, "FINISHED", {}),
    (None, Pruned, "FINISHED", {"trial_state": "COMPLETE"}),
    (Pruned("after epoch 1"), Pruned, "FINISHED", {"trial_state": "PRUNED", "pruned": "after epoch 1"}),
    (Interrupted(15, "stopped"), None, "KILLED", {}),
    (Interrupted(15, "stopped"), Pruned, "KILLED", {}),
    (KeyboardInterrupt(), None, "KILLED", {}),
    (Diverged("the loss became nan"), None, "FAILED", {"reason": "the loss became nan"}),
    (Diverged("the loss became nan"), Pruned, "FAILED", {"trial_state": "FAIL", "failed": "the loss became nan"}),
    (UserError("no such model"), None, "WITHDRAWN", {"reason": "no such model"}),
    (UserError("no such model"), Pruned, "FAILED", {"trial_state": "FAIL", "failed": "no such model"}),
)


def end(folder: RunFolder, uri: str, error: BaseException | None, pruned: type[Exception] | None) -> None:
    node = {"_target_": "expkit.tracking.mlflow", "uri": uri}
    with logging_to(folder.log), tracked(node, folder, pruned=pruned):
        if error:
            raise error


@pytest.mark.parametrize(("error", "pruned", "status", "tags"), ENDS)
def test_each_way_to_end_has_its_status_and_tags(tmp_path, uri, experiment, error, pruned, status, tags):
    folder = RunFolder.create(tmp_path / "run", experiment, {}, [])
    if error:
        with pytest.raises(type(error)):
            end(folder, uri, error, pruned)
    else:
        end(folder, uri, error, pruned)
    told = read_json(folder.path / "end.json")
    assert (told["status"], told["tags"]) == (status, tags)
    assert str(error or "") in folder.log.read_text()
    assert ("failed: " in folder.log.read_text()) == (status in ("FAILED", "WITHDRAWN"))


def test_a_refused_run_is_withdrawn_only_where_nothing_came_of_it(tmp_path, uri, client, experiment):
    begun = RunFolder.create(tmp_path / "begun", experiment, {}, [])
    begun.note(fingerprint="0123")
    for folder in (begun, RunFolder.create(tmp_path / "new", experiment, {}, [])):
        with pytest.raises(UserError):
            end(folder, uri, UserError("no such model"), None)
    runs = runs_of(client, experiment)
    assert {name: run.info.status for name, run in runs.items()} == {"begun": "FAILED"}
