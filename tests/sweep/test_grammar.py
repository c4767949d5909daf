import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit.errors import UserError
from expkit.sweep.space.grammar import parsed, read_search
from expkit.sweep.space.spaces import Around, Choice, Numbers, Param


def space(text: str):
    (param,) = read_search({}, [f"key={text}"]).params
    return param.space


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(1, 10)", Numbers(1.0, 10.0)),
        ("int(interval(1, 10))", Numbers(1, 10)),
        ("tag(log, interval(1e-5, 1e-1))", Numbers(1e-5, 1e-1, log=True)),
        ("tag(log, int(interval(1, 100)))", Numbers(1, 100, log=True)),
        ("range(1, 10, 2)", Numbers(1, 9, 2)),
        ("range(4)", Numbers(0, 3, 1)),
        ("range(10, 0, -5)", Numbers(5, 10, 5)),
        ("tag(log, range(1, 5))", Numbers(1, 4, 1, log=True)),
        ("choice(sgd, adam)", Choice(("sgd", "adam"), ("sgd", "adam"))),
        ("sgd,adam", Choice(("sgd", "adam"), ("sgd", "adam"))),
        ("choice(0.1, 2, true)", Choice((0.1, 2, True), (0.1, 2, True))),
        ("choice('a b', c)", Choice((r"a\ b", "c"), ("a b", "c"))),
        ("choice({stop: 0.1}, [1, 2])", Choice(("{stop:0.1}", "[1,2]"), ({"stop": 0.1}, [1, 2]))),
        ("{around: lr_find, factor: 3}", Around(3.0)),
        ("{around: lr_find}", Around(10.0)),
    ],
)
def test_each_form_of_a_space(text, expected):
    assert space(text) == expected


def test_a_range_of_numbers_leaves_its_end_out_as_in_hydra():
    numbers = space("range(0.1, 0.5, 0.1)")
    assert numbers.grid() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert not numbers.whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interval(1, 1)", r"key: interval\(1.0, 1.0\) is empty; give the lower end first"),
        ("interval(2, 1)", "is empty"),
        ("interval(0, inf)", "key must be bounded by finite numbers, got inf"),
        ("tag(log, interval(0, 1))", "key: a logarithmic space must begin above 0, got 0.0"),
        ("tag(log, range(1, 10, 2))", "whole numbers with a step of 1"),
        ("range(3, 1)", r"key: range\(3, 1, 1\) is empty"),
        ("range(1, 3, 0)", "is empty"),
        ("choice(a, b, a)", "key has the same choice twice in a, b, a"),
        ("tag(log, choice(1, 2))", r"tag\(log, ...\) means nothing for a choice"),
        ("tag(fast, interval(1, 2))", r"tag\(fast, ...\) means nothing for a range or an interval; only log"),
        ("{around: slope}", "key.around must be lr_find, got 'slope'"),
        ("{around: lr_find, factor: 1}", "key.factor must be a number above 1, got 1"),
        ("{around: lr_find, times: 3}", "key.times is no key of key; it has around and factor"),
    ],
)
def test_a_space_that_holds_nothing_to_search_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        space(text)


@pytest.mark.parametrize("text", ["interval(1)", "choice()", "interval(a, b)", "choice(1"])
def test_what_is_not_in_the_grammar_is_refused_with_its_place(text):
    with pytest.raises(
        UserError, match=r"hydra.sweeper.params.optim.lr: .* is not written in Hydra's override grammar"
    ):
        read_search({"optim.lr": text}, [])


def test_params_of_a_sweep_file_may_hold_values_and_mappings():
    search = read_search(
        {
            "optim.lr": {"around": "lr_find", "factor": 10},
            "epochs": 3,
            "optim.decouple_wd": False,
            "sched.moms": [0.9, 0.8, 0.9],
        },
        [],
    )
    assert search.params == (Param("optim.lr", Around(10.0)),)
    assert search.fixed == ("epochs=3", "optim.decouple_wd=false", "sched.moms=[0.9,0.8,0.9]")
    assert search.searches_lr


def test_the_command_line_replaces_params_key_by_key():
    params = {"optim": "choice(sgd, adam)", "optim.lr": "interval(1, 2)", "optim.wd": "interval(0, 1)"}
    search = read_search(params, ["+experiment=digits", "optim.lr=interval(3, 4)", "optim=adam"])
    assert search.params == (Param("optim.wd", Numbers(0.0, 1.0)), Param("optim.lr", Numbers(3.0, 4.0)))
    assert search.fixed == ("+experiment=digits", "optim=adam")


def test_signs_stay_with_the_overrides():
    search = read_search({"+optim.new": "choice(1, 2)"}, ["~optim.wd", "++seed=3"])
    assert search.params[0].key == "optim.new"
    assert search.params[0].override(2) == "+optim.new=2"
    assert search.fixed == ("~optim.wd", "++seed=3")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_drawn_number_survives_the_command_line_bit_by_bit(number):
    override = Param("optim.lr", Numbers(0.0, 1.0)).override(number)
    value = parsed(override, "test").value()
    assert value == number
    assert math.copysign(1, value) == math.copysign(1, number)


@pytest.mark.parametrize("text", ["choice(sgd, adam)", "choice('a, b', true, 1e-05, {stop: 0.1}, [1, x])"])
def test_a_drawn_choice_survives_the_command_line(text):
    (param,) = read_search({}, [f"key={text}"]).params
    for value, plain in zip(param.space.values, param.space.plain, strict=True):
        assert parsed(param.override(value), "test").value() == plain


@pytest.mark.parametrize(
    "text",
    [
        "interval(1.0, 10.0)",
        "int(interval(1, 10))",
        "tag(log, interval(1e-05, 0.1))",
        "tag(log, int(interval(1, 100)))",
        "range(1, 11, 2)",
        "choice(sgd, adam)",
        "{around: lr_find, factor: 10}",
    ],
)
def test_a_space_is_told_in_the_grammar_that_it_was_read_from(text):
    assert str(space(text)) == text
    assert space(str(space(text))) == space(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("interval(0, 1)", [0.0, 1, 0.5], [-0.1, 1.1, True, "0.5", None]),
        ("int(interval(1, 10))", [1, 10], [0, 11, 2.5]),
        ("range(0.1, 0.5, 0.1)", [0.1, 0.30000000000000004], [0.15, 0.5]),
    ],
)
def test_which_numbers_a_space_holds(text, inside, outside):
    assert all(space(text).holds(value) for value in inside)
    assert not any(space(text).holds(value) for value in outside)


def test_which_choice_a_value_of_the_config_is():
    choice = space("choice(1, true, {stop: 0.1}, '1')")
    assert [choice.index(value) for value in (1, True, {"stop": 0.1}, "1", 1.0)] == [0, 1, 2, 3, None]
