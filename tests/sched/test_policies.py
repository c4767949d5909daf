"""Annealers, their combination and the policies."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit.errors import UserError
from expkit.sched import (
    annealer,
    combine,
    combined_cosine,
    constant,
    constant_lr,
    cosine,
    exponential,
    flat_cos,
    linear,
    one_cycle,
    polynomial,
    sgdr,
    sgdr_epochs,
)

VALUES = st.floats(1e-6, 10)
PROGRESS = st.floats(0, 1)
SHAPES = [linear, cosine, exponential, lambda start, end: polynomial(start, end, 2.0)]


@pytest.mark.parametrize("shape", SHAPES)
@given(start=VALUES, end=VALUES)
def test_annealers_begin_and_end_where_they_should(shape, start, end):
    schedule = shape(start, end)
    assert schedule(0.0) == pytest.approx(start)
    assert schedule(1.0) == pytest.approx(end)


@pytest.mark.parametrize("shape", SHAPES)
@given(start=VALUES, end=VALUES, first=PROGRESS, second=PROGRESS)
def test_annealers_stay_in_bounds_and_never_turn_back(shape, start, end, first, second):
    schedule = shape(start, end)
    before, after = schedule(min(first, second)), schedule(max(first, second))
    slack = 1e-9 * max(start, end)
    assert min(start, end) - slack <= before <= max(start, end) + slack
    assert (after - before) * (end - start) >= -slack


@given(start=VALUES, t=PROGRESS)
def test_constant_stays(start, t):
    assert constant(start)(t) == constant(start, 7.0)(t) == start


@given(weights=st.lists(st.floats(0.05, 1), min_size=1, max_size=6), values=st.lists(VALUES, min_size=7, max_size=7))
def test_pieces_that_meet_join_without_a_jump(weights, values):
    pcts = [weight / math.fsum(weights) for weight in weights]
    schedule = combine(pcts, [cosine(values[i], values[i + 1]) for i in range(len(pcts))])
    for i in range(1, len(pcts)):
        join = math.fsum(pcts[:i])
        assert schedule(join) == pytest.approx(values[i])
        assert schedule(join - 1e-7) == pytest.approx(schedule(join + 1e-7), abs=1e-3)
    assert schedule(0.0) == pytest.approx(values[0])
    assert schedule(1.0) == pytest.approx(values[len(pcts)])


@given(epochs=st.integers(1, 30), batches=st.integers(1, 40))
def test_at_the_first_batch_of_a_cycle_sgdr_is_at_its_peak(epochs, batches):
    schedule = sgdr([0.1], epochs, cycle_mult=1)["lr"][0]
    for epoch in range(epochs):
        assert schedule((epoch + 0 / batches) / epochs) == pytest.approx(0.1)


@given(batches=st.integers(1, 50), factor=st.integers(2, 5), epochs=st.integers(1, 8))
def test_batch_size_does_not_bend_a_schedule(batches, factor, epochs):
    schedule = one_cycle([0.1], epochs)["lr"][0]
    for batch in range(batches):
        coarse = schedule((epochs - 1 + batch / batches) / epochs)
        assert schedule((epochs - 1 + batch * factor / (batches * factor)) / epochs) == pytest.approx(coarse)


@given(pct=st.floats(0.05, 0.95), peaks=st.lists(VALUES, min_size=1, max_size=4))
def test_one_cycle_rises_from_peak_over_div_to_the_peak_and_falls_to_almost_nothing(pct, peaks):
    schedules = one_cycle(peaks, pct_start=pct)
    for schedule, peak in zip(schedules["lr"], peaks, strict=True):
        assert schedule(0.0) == pytest.approx(peak / 25)
        assert schedule(pct) == pytest.approx(peak)
        assert schedule(1.0) == pytest.approx(peak / 1e5)
    assert [schedules["mom"](t) for t in (0.0, pct, 1.0)] == pytest.approx([0.95, 0.85, 0.95])


def test_flat_cos_is_flat_and_then_falls():
    schedule = flat_cos([0.1], pct_start=0.5)["lr"][0]
    assert [schedule(t) for t in (0.0, 0.3, 0.5)] == pytest.approx([0.1] * 3)
    assert schedule(1.0) == pytest.approx(1e-6)


@pytest.mark.parametrize(("epochs", "mult", "starts"), [(7, 2, [0, 1, 3]), (3, 1, [0, 1, 2]), (13, 3, [0, 1, 4])])
def test_sgdr_fills_the_epochs_with_cycles(epochs, mult, starts):
    schedule = sgdr([0.1], epochs, cycle_mult=mult)["lr"][0]
    for epoch in range(epochs):
        is_start = schedule(epoch / epochs) == pytest.approx(0.1)
        assert is_start == (epoch in starts)


def test_sgdr_says_which_epochs_fit():
    with pytest.raises(UserError, match=r"epochs=5.*give epochs=3 or epochs=7"):
        sgdr([0.1], 5)
    with pytest.raises(UserError, match=r"give epochs=4"):
        sgdr([0.1], 3, cycle_len=4)


def test_cycles_given_must_take_the_epochs_given():
    with pytest.raises(UserError, match=r"n_cycles=2 .* takes 3 epochs, got epochs=7; give epochs=3"):
        sgdr([0.1], 7, n_cycles=2)
    assert sgdr([0.1], 3, n_cycles=2)["lr"][0](1 / 3) == pytest.approx(0.1)


def test_epochs_follow_from_cycles():
    assert sgdr_epochs(1, 2, 3) == 7
    assert sgdr_epochs(2, 1, 4) == 8
    derived = sgdr([0.1], n_cycles=3)["lr"][0]
    assert [derived(epoch / 7) for epoch in range(7)] == [sgdr([0.1], 7)["lr"][0](epoch / 7) for epoch in range(7)]
    with pytest.raises(UserError, match=r"epochs or sched\.n_cycles"):
        sgdr([0.1])


@pytest.mark.parametrize("policy", [one_cycle, flat_cos, sgdr, constant_lr])
@given(pct=st.floats(0.01, 0.9), t=PROGRESS)
def test_warmup_goes_in_front_of_any_policy(policy, pct, t):
    plain, warm = policy([0.1], 1), policy([0.1], 1, warmup=pct, warmup_div=10.0)
    first = plain["lr"][0](0.0)
    assert warm["lr"][0](0.0) == pytest.approx(first / 10)
    assert warm["lr"][0](pct / 2) == pytest.approx(first * 0.55)
    assert warm["lr"][0](pct + t * (1 - pct)) == pytest.approx(plain["lr"][0](t), abs=1e-7)


def test_momentum_waits_during_warmup():
    assert one_cycle([0.1], warmup=0.2)["mom"](0.1) == pytest.approx(0.95)


def test_own_annealers_by_decorator():
    @annealer
    def square_root(start, end, t, scale=1.0):
        return start + (end - start) * scale * math.sqrt(t)

    assert square_root(1.0, 3.0)(0.25) == pytest.approx(2.0)
    assert square_root(1.0, 3.0, scale=2.0)(0.25) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: combine([0.5, 0.4], [constant(1), constant(2)]), "sum to 0.9"),
        (lambda: combine([1.2, -0.2], [constant(1), constant(2)]), "above 0"),
        (lambda: combine([1.0], [constant(1), constant(2)]), "one fraction for each schedule, got 1 for 2"),
        (lambda: combined_cosine(1.0, 1, 2, 3), "pct must lie between 0 and 1, got 1.0"),
        (lambda: exponential(0.0, 1.0), "start=0.0"),
        (lambda: polynomial(0.0, 1.0, 0.0), "power=0.0"),
        (lambda: one_cycle([0.1], pct_start=1.0), "pct_start must be a number above 0 and below 1, got 1.0"),
        (lambda: one_cycle([0.1], moms=[0.9]), "moms must be"),
        (lambda: sgdr([0.1], 3, cycle_mult=0), "cycle_mult must be a whole number of at least 1, got 0"),
    ],
)
def test_errors_name_the_value(build, message):
    with pytest.raises(UserError) as caught:
        build()
    assert message in str(caught.value)


def test_fractions_may_be_rounded():
    assert combine([0.3333333, 0.3333333, 0.3333334], [constant(i) for i in (1, 2, 3)])(1.0) == 3
