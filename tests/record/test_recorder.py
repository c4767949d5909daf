import json
from contextlib import closing
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch

from expkit.config.schema import BETTER
from expkit.errors import UserError
from expkit.optim import adam
from expkit.record.recorder import Recorder, Smoothed, read_metrics
from expkit.run_folder import RunFolder
from expkit.sched import one_cycle
from expkit.trainer import default
from expkit.trainer.loop import Stopped, Trainer
from tests.trainer.test_loop import PHASES, Perceptron, StopAt, fit, small_loaders, small_trainer


def fit_apart(trainer: Trainer) -> None:
    """Train a phase in which all groups have the same rate, and one in which each has its own."""
    rates = {"head": [0.03, 0.03], "all": [0.003, 0.03]}
    for phase in PHASES[trainer.state.phase :]:
        trainer.fit(phase, one_cycle(rates[phase.name], phase.epochs), *small_loaders())


def points(folder: RunFolder, name: str) -> list[tuple[int, float]]:
    lines = map(json.loads, folder.metrics.read_text().splitlines())
    return [(line["step"], line["value"]) for line in lines if line["name"] == name]


def test_the_smoothed_loss_is_debiased():
    smoothed = Smoothed()
    assert smoothed.add(3.0) == pytest.approx(3.0)
    assert smoothed.add(1.0) == pytest.approx((0.98 * 0.02 * 3 + 0.02 * 1) / (1 - 0.98**2))


def test_every_step_is_recorded_as_the_optimizer_held_it(tmp_path):
    trainer, folder = small_trainer(), RunFolder(tmp_path, "test")
    recorder = Recorder(folder, 18)
    trainer.observe([recorder])
    fit(trainer, *PHASES)
    recorder.close()
    table = pq.read_table(folder.traces)
    assert table["step"].to_pylist() == list(range(18))
    assert table["lr_1"].to_pylist()[-1] == trainer.optimizer.get("lr")[1]
    assert table["mom_0"].to_pylist()[0] == pytest.approx(0.95)  # of its norms, which train
    assert [step for step, _ in points(folder, "hp/lr_0")] == list(range(18))
    assert not points(folder, "hp/lr_1"), "all groups have the same rate, which is said once"
    assert [step for step, _ in points(folder, "valid_loss")] == [1, 2, 3]
    assert points(folder, "train_loss")[-1][1] == table["train_loss_smoothed"].to_pylist()[-1]


def test_a_group_in_which_nothing_trains_has_no_rate(tmp_path):
    model, folder = Perceptron(), RunFolder(tmp_path, "test")
    trainer = default(model, adam(model, lr=0.01, train_bn=False), 3, 3, device="cpu")
    recorder = Recorder(folder, 18)
    trainer.observe([recorder])
    fit(trainer, *PHASES)
    recorder.close()
    table = pq.read_table(folder.traces)
    assert table["lr_0"].to_pylist()[:6] == table["mom_0"].to_pylist()[:6] == [None] * 6
    assert None not in table["lr_0"].to_pylist()[6:] + table["lr_1"].to_pylist()
    assert [step for step, _ in points(folder, "hp/lr_0")] == list(range(6, 18))


def test_the_best_epoch_so_far_is_the_last_point_of_its_metric(tmp_path):
    trainer, folder = small_trainer(), RunFolder(tmp_path, "test")
    recorder = Recorder(folder, 18)
    trainer.observe([recorder])
    for epoch, accuracy in enumerate((0.5, 0.75, 0.75, float("nan"), 0.25), start=1):
        trainer.state.epochs = epoch
        losses = {"valid_loss": 1.0, "valid_accuracy": accuracy}
        recorder.train_loss = 1.0
        recorder.after_epoch(trainer, SimpleNamespace(metrics=losses))
    assert points(folder, "best_valid_accuracy") == [(1, 0.5), (2, 0.75)]
    assert points(folder, "best_epoch") == [(1, 1), (2, 2)]


def test_tracking_gets_about_a_thousand_points_with_the_first_and_the_last(tmp_path):
    trainer, folder = small_trainer(), RunFolder(tmp_path, "test")
    recorder = Recorder(folder, 3001)
    trainer.observe([recorder])
    fit(trainer, PHASES[0], items=6002, batch_size=2)
    recorder.close()
    steps = [step for step, _ in points(folder, "batch/train_loss")]
    assert steps[0] == 0
    assert steps[-1] == 3000
    assert 700 <= len(steps) <= 1001
    assert len(pq.read_table(folder.traces)) == 3001


@pytest.mark.parametrize("step", [3, 6, 11])
def test_a_resumed_recording_is_that_of_a_whole_run(tmp_path, step):
    whole, parts = RunFolder(tmp_path / "whole", "test"), RunFolder(tmp_path / "parts", "test")
    for folder in (whole, parts):
        folder.path.mkdir()
    trainer = small_trainer()
    recorder = Recorder(whole, 18)
    trainer.observe([recorder])
    fit_apart(trainer)
    recorder.close()

    stopped = small_trainer()
    first = Recorder(parts, 18)
    stopped.observe([first, StopAt(step)])
    with pytest.raises(Stopped):
        fit_apart(stopped)
    saved = stopped.state_dict()
    first.flush()
    # The process dies later than its checkpoint: more rows and half a line lie in the files.
    with open(parts.trace_rows, "ab") as rows:
        rows.write(b"\1" * 100)
    with open(parts.metrics, "a") as metrics:
        metrics.write('{"name": "valid_lo')
    first.metrics.close()

    resumed = small_trainer()
    resumed.load_state_dict(saved)
    second = Recorder(parts, 18)
    resumed.observe([second])
    fit_apart(resumed)
    second.close()
    assert pq.read_table(parts.traces).equals(pq.read_table(whole.traces))
    for name in ("valid_loss", "train_loss", "hp/lr_1", "hp/mom_1", "batch/train_loss"):
        assert points(parts, name) == points(whole, name)
    rates = pq.read_table(whole.traces)["lr_1"].to_pylist()
    assert points(whole, "hp/lr_1") == list(enumerate(rates)), "also of the steps before the groups came to differ"
    assert not points(whole, "hp/mom_1")
    assert second.history == recorder.history


def test_history_is_read_back_up_to_the_checkpoint(tmp_path):
    folder = RunFolder(tmp_path, "test")
    lines = [
        {"name": name, "value": 1.0 / epoch, "step": epoch, "timestamp": 0} for epoch in (1, 2, 3) for name in BETTER
    ]
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    written, history = read_metrics(folder, 2)
    assert written == dict.fromkeys(BETTER, 3)
    assert history == [dict.fromkeys(BETTER, 1.0), dict.fromkeys(BETTER, 0.5)]


def test_traces_shorter_than_the_checkpoint_are_refused(tmp_path):
    trainer, folder = small_trainer(), RunFolder(tmp_path, "test")
    trainer.state.step = 5
    with pytest.raises(UserError, match="holds 0 steps but the checkpoint 5"):
        trainer.observe([Recorder(folder, 18)])


def test_a_diverged_loss_says_where_and_with_which_rates(tmp_path):
    trainer, folder = small_trainer(), RunFolder(tmp_path, "test")
    recorder = Recorder(folder, 18)
    trainer.observe([recorder])
    for loss in (1.0, float("inf"), float("nan")):
        recorder.after_step(trainer, torch.tensor(loss))
    with pytest.raises(UserError, match=r"became inf at step 1, where the learning rates were 0\.01, 0\.01"):
        recorder.flush()


DAMAGED = [
    b"\0" * 60 + b"\n",
    b"\n",
    b'{"name": "valid_loss", "val\n',
    b"[1]\n",
    b'{"name": "valid_loss", "step": 2}\n',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_of_metrics_is_named_with_what_to_do(tmp_path, line):
    folder = RunFolder(tmp_path, "toy")
    good = b"".join(b'{"name": "%s", "value": 1.0, "step": 1, "timestamp": 5}\n' % name.encode() for name in BETTER)
    folder.metrics.write_bytes(good + line + good)
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 6, is damaged .*put a whole copy of the file"):
        read_metrics(folder, 1)


def test_metrics_of_an_epoch_that_are_missing_are_named(tmp_path):
    folder = RunFolder(tmp_path, "toy")
    with pytest.raises(UserError, match=r"metrics\.jsonl has no train_loss of epoch 1: put a whole copy"):
        read_metrics(folder, 1)
    points = [(name, step) for step in (1, 2) for name in BETTER if (name, step) != ("valid_f1", 1)]
    lines = [{"name": name, "value": 1.0, "step": step, "timestamp": 5} for name, step in points]
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_metrics(folder, 0)[0] == dict.fromkeys(BETTER, 2)
    with pytest.raises(UserError, match=r"metrics\.jsonl has no valid_f1 of epoch 1: put a whole copy"):
        read_metrics(folder, 2)


def test_what_keeps_a_recording_from_starting_is_what_is_told(tmp_path):
    recorder = Recorder(RunFolder(tmp_path, "test"), 18)
    recorder.folder.metrics.write_bytes(b"\n")
    with pytest.raises(UserError, match="line 1, is damaged"), closing(recorder):
        small_trainer().observe([recorder])
