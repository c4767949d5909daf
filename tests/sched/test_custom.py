"""The grammar of custom schedules."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from expkit.errors import UserError
from expkit.sched import annealer, custom, one_cycle

LR = [0.01, 0.1]


def build(text: str, **options):
    return custom(LR, 3, hypers=yaml.safe_load(text), **options)


def test_a_number_and_a_shape():
    schedules = build("wd: 0.05\nmom: {shape: linear, start: 0.8, end: 0.9}")
    assert schedules["wd"](0.3) == 0.05
    assert schedules["mom"](0.5) == pytest.approx(0.85)


def test_lr_stays_at_its_peaks_unless_scheduled():
    assert [schedule(0.4) for schedule in build("wd: 0.05")["lr"]] == LR


def test_rates_relative_to_the_peak_of_each_group():
    first, second = build("lr: {shape: cosine, start: peak / 25, end: peak * 1e-3}")["lr"]
    assert (first(0.0), second(0.0)) == pytest.approx((0.01 / 25, 0.1 / 25))
    assert (first(1.0), second(1.0)) == pytest.approx((1e-5, 1e-4))


@given(t=st.floats(0, 1))
def test_pieces_go_on_where_the_last_one_ended(t):
    text = """
    lr:
      - {pct: 0.25, shape: cosine, start: peak / 25, end: peak}
      - {pct: 0.75, shape: cosine, end: peak / 1.0e+5}
    """
    cycle = one_cycle(LR)["lr"]
    for ours, theirs in zip(build(text)["lr"], cycle, strict=True):
        assert ours(t) == pytest.approx(theirs(t))


def test_the_first_piece_of_lr_starts_at_the_peak():
    text = "lr: [{pct: 0.5, shape: constant}, {pct: 0.5, shape: polynomial, end: 0, power: 2}]"
    assert [build(text)["lr"][1](t) for t in (0.2, 0.75)] == pytest.approx([0.1, 0.075])


def test_a_list_holds_one_curve_per_group():
    text = "wd: [0.1, [{pct: 0.5, shape: constant, start: 1}, {pct: 0.5, shape: exponential, end: 4}]]"
    first, second = build(text)["wd"]
    assert first(0.9) == 0.1
    assert [second(t) for t in (0.25, 0.75, 1.0)] == pytest.approx([1, 2, 4])


@annealer
def root(start, end, t):
    return start + (end - start) * t**0.5


def double(t):
    return 2 * t


def test_own_functions_as_curve_piece_and_shape():
    hypers = {
        "wd": double,
        "mom": [{"pct": 0.5, "function": double}, {"pct": 0.5, "shape": "linear", "end": 0.0}],
        "eps": {"shape": root, "start": 0.0, "end": 1.0},
    }
    schedules = custom(LR, 3, hypers=hypers)
    assert schedules["wd"](0.5) == 1.0
    assert [schedules["mom"](t) for t in (0.25, 0.5, 0.75)] == pytest.approx([1.0, 2.0, 1.0])
    assert schedules["eps"](0.25) == 0.5


def test_own_functions_by_dotted_name(tmp_path, monkeypatch):
    (tmp_path / "my_curves.py").write_text("def half(t):\n    return t / 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"sched\.hypers\.wd.*EXPKIT_TRUST=my_curves"):
        build("wd: my_curves.half")
    monkeypatch.setenv("EXPKIT_TRUST", "my_curves")
    assert build("wd: my_curves.half")["wd"](0.5) == 0.25
    assert build("wd: {shape: expkit.sched.cosine, start: 1, end: 3}")["wd"](0.5) == pytest.approx(2)


def test_warmup_delays_all_curves():
    schedules = build("wd: {shape: linear, start: 0, end: 1}", warmup=0.5, warmup_div=10.0)
    assert [schedules["wd"](t) for t in (0.2, 0.5, 0.75)] == pytest.approx([0, 0, 0.5])
    assert [schedules["lr"][1](t) for t in (0.0, 0.9)] == pytest.approx([0.01, 0.1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wd: {shape: cosin, start: 1, end: 2}", "sched.hypers.wd.shape must be one of constant, linear, cosine"),
        ("wd: {shape: cosine, begin: 1, end: 2}", "sched.hypers.wd.begin is no key of a curve"),
        ("wd: {start: 1, end: 2}", "sched.hypers.wd.shape is missing"),
        ("wd: {shape: linear, end: 2}", "sched.hypers.wd.start is missing"),
        ("wd: {shape: linear, start: 2}", "sched.hypers.wd.end is missing"),
        ("wd: {shape: linear, start: two, end: 2}", "sched.hypers.wd.start must be a number"),
        ("wd: {shape: linear, start: peak, end: 2}", "sched.hypers.wd.start: only lr has a peak"),
        ("wd: {shape: polynomial, start: 1, end: 2}", "sched.hypers.wd.power is missing"),
        ("wd: {shape: polynomial, start: 1, end: 2, power: 0}", "sched.hypers.wd: polynomial needs a power above 0"),
        ("wd: {shape: linear, start: 1, end: 2, power: 2}", "sched.hypers.wd.power is only for"),
        ("lr: {shape: exponential, end: 0}", "sched.hypers.lr: exponential needs"),
        ("wd: [{pct: 0.5, shape: constant, start: 1}]", "sched.hypers.wd: the pct of all pieces must"),
        ("wd: [{pct: 0.5, shape: constant, start: 1}, 1]", "sched.hypers.wd[1] has no pct"),
        ("wd: [1, 2, 3]", "sched.hypers.wd must have one curve for each of the 2 layer groups, got 3"),
        ("lr: peak / 0", "sched.hypers.lr='peak / 0' divides by 0"),
        ("lr: peak / 1.2.3", "sched.hypers.lr"),
        ("wd: true", "sched.hypers.wd must be a number"),
        ("wd: [{pct: x, shape: constant, start: 1}]", "sched.hypers.wd[0].pct must be a number"),
        ("wd: {pct: 0.5, shape: constant, start: 1}", "sched.hypers.wd.pct is for the pieces of a list"),
        ("wd: {shape: constant, start: 1, end: 2}", "sched.hypers.wd.end is of no use"),
        ("wd: {function: a.b, start: 1}", "sched.hypers.wd.start has no effect"),
    ],
)
def test_errors_name_the_key(text, message):
    with pytest.raises(UserError) as caught:
        build(text)
    assert message in str(caught.value)
