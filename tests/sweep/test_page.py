"""The page of a study: of any number of trials, however they ended, with params of every kind."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from expkit.sweep.show.page import PAGE, configured, make_page
from expkit.sweep.study import FAILED, WORKER
from expkit.whole_files import write_json

CONFIG = {"objective.metric": "valid_accuracy", "optim._target_": "expkit.optim.adam", "optim.lr.stop": 0.01}


def study_of(*trials):
    study = optuna.create_study(study_name="<of lr>", direction="maximize")
    study.set_user_attr("searches", {"space": {"optim.lr": "tag(log, interval(1e-4, 1))"}, "config": CONFIG})
    study.add_trials(trials)
    return study


def trial_of(draw, number):
    """One with a choice, a number on a logarithmic axis, and a param that only some have."""
    optim, lr, epochs = draw.choice(["sgd", "adam"]), float(10 ** draw.uniform(-4, 0)), int(draw.integers(1, 5))
    params = {"optim": str(optim), "optim.lr": lr, "epochs": epochs}
    spaces = {
        "optim": CategoricalDistribution(("sgd", "adam")),
        "optim.lr": FloatDistribution(1e-4, 1, log=True),
        "epochs": IntDistribution(1, 5),
    }
    if optim == "sgd":
        params["optim.mom"], spaces["optim.mom"] = float(draw.uniform(0, 0.9)), FloatDistribution(0, 0.9)
    value = 0.9 - 0.1 * abs(np.log10(lr) + 2) + 0.01 * epochs
    states = {4: TrialState.PRUNED, 5: TrialState.FAIL}
    state = states.get(number % 9, TrialState.COMPLETE)
    return create_trial(
        state=state,
        value=None if state == TrialState.FAIL else value,
        params=params,
        distributions=spaces,
        intermediate_values={1: value},
        user_attrs={FAILED: "the loss became nan"} if state == TrialState.FAIL else {WORKER: {"threads": 1}},
    )


@pytest.mark.parametrize("count", [1, 300])
def test_the_page_says_what_the_best_trial_differs_in_and_shows_all(tmp_path, count):
    draw = np.random.default_rng(0)
    study = study_of(*(trial_of(draw, number) for number in range(count)))
    write_json(tmp_path / "run.json", {"experiment": "pets & <cats>", "name": "<of lr>"})
    with warnings.catch_warnings(action="error"):
        page = make_page(tmp_path, study).read_text()
    best = study.best_trial
    assert f"<b>{best.value:.4f}</b>" in page
    assert "pets &amp; &lt;cats&gt; / &lt;of lr&gt;" in page
    assert f"<td>optim.lr</td><td>stop 0.01</td><td>{best.params['optim.lr']:.3g}</td>" in page
    assert page.count("<tr><td>") + page.count("<tr class=best>") > count
    assert "--config-dir" not in page  # nobody wrote best.yaml
    assert "task=predict" not in page  # nor is its run here
    drawn = {"history", "slice", "parallel"} | ({"importance"} if count > 1 else set())
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == drawn
    assert page.count("data:image/png") == len(drawn)
    assert ("failed: the loss became nan" in page) == (count > 1)


def test_a_study_of_failed_trials_alone_says_why(tmp_path):
    failed = create_trial(state=TrialState.FAIL, user_attrs={FAILED: "the loss became <nan>"})
    write_json(tmp_path / "run.json", {"experiment": "pets", "name": "<of lr>"})
    make_page(tmp_path, study_of(failed, failed))
    page = (tmp_path / PAGE).read_text()
    assert "No result" in page
    assert "2 failed: the loss became &lt;nan&gt;" in page


def test_a_value_of_the_base_config_is_found_under_any_key():
    assert [configured(CONFIG, key) for key in ("optim", "optim.lr", "objective.metric", "+optim.mom")] == [
        "adam",
        "stop 0.01",
        "valid_accuracy",
        "",
    ]
