"""Pictures: what is drawn of a schedule, and names in scripts for which no font may be installed."""

import warnings

import numpy as np
import pytest
from PIL import Image

from expkit.record import confusion, glyphs, plots, quality


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written, with what is on them."""
    seen, write = [], plots.save
    for module in (plots, confusion, quality):
        monkeypatch.setattr(module, "save", lambda figure, path: (seen.append(figure), write(figure, path)))
    return seen


def test_what_stays_is_told_in_words(figures, tmp_path):
    t = np.linspace(0, 1, 50)
    hypers = {"lr_0": t, "lr_1": 2 * t, "wd_0": np.full(50, 0.1) + 1e-12 * t, "wd_1": np.full(50, 0.2)}
    hypers |= {"mom_0": 1 - t, "mom_1": (1 - t) * (1 + 1e-12), "dropout": np.full(50, 0.5)}
    plots.draw_schedule(tmp_path / "a.png", t, hypers, ["body", "head"], {"all": 0}, "epoch")
    (figure,) = figures
    assert [axes.get_title() for axes in figure.axes] == ["lr", "mom"]
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 1]
    assert figure.texts[0].get_text() == "constant: wd 0.1 / 0.2, dropout 0.5"


def test_a_layer_group_has_no_curve_where_it_is_frozen(figures, tmp_path):
    t = np.linspace(0, 1, 50)
    late, never = np.where(t < 0.5, np.nan, t), np.full(50, np.nan)
    hypers = {"lr_0": never, "lr_1": late / 10, "lr_2": t, "mom_0": never, "mom_1": late, "mom_2": t}
    hypers |= {"wd_0": never, "wd_1": np.full(50, 0.1), "wd_2": np.full(50, 0.1)}
    plots.draw_schedule(tmp_path / "a.png", t, hypers, ["stem", "body", "head"], {"all": 0}, "epoch")
    (figure,) = figures
    lr, mom = figure.axes
    assert [line.get_label() for line in lr.get_lines()] == ["body", "head"]
    assert len(mom.get_lines()) == 1
    assert figure.texts[0].get_text() == "constant: wd 0.1"


def test_a_schedule_that_stays_is_drawn_from_0(figures, tmp_path):
    t = np.linspace(0, 1, 50)
    hypers = {"lr_0": np.full(50, 0.01) + 1e-17 * t, "mom_0": np.full(50, 0.9)}
    plots.draw_schedule(tmp_path / "a.png", t, hypers, ["head"], {"all": 0}, "epoch")
    (axes,) = figures[0].axes
    assert axes.get_ylim() == pytest.approx((0, 0.012))


@pytest.mark.parametrize("names", [("猫", "犬"), ("कुत्ता", "แมว"), ("кот", "Wörter"), ("\U0001f408", "a\tb")])
def test_names_in_any_script_bring_no_warning(figures, tmp_path, names):
    counts = np.array([[3, 0], [1, 2]])
    with warnings.catch_warnings(action="error"):
        confusion.draw_confusion(tmp_path / "confusion.png", counts, names, "Validation")
        quality.draw_by_class(tmp_path / "by_class.png", counts, names, "validation images")
    assert Image.open(tmp_path / "confusion.png").width > 100
    assert figures[0].texts[0].get_text() == "Validation: 5 of 6 right (83.3%)"


def test_a_thousand_classes_are_drawn_by_those_most_confused(figures, tmp_path):
    counts = np.diag(np.full(1000, 5))
    counts[np.arange(60), np.arange(60) + 60] = np.arange(60)
    small, names = confusion.most_confused(counts, [f"c{number}" for number in range(1000)])
    assert small.sum() == counts.sum()
    assert (names[:4], names[-1]) == (["c59", "c119", "c58", "c118"], "960 others")
    assert small[0, 1] == 59
    confusion.draw_confusion(tmp_path / "a.png", counts, [f"c{number}" for number in range(1000)], "Validation")
    quality.draw_by_class(tmp_path / "b.png", counts, [f"c{number}" for number in range(1000)], "validation images")
    assert all(max(Image.open(tmp_path / name).size) < 1600 for name in ("a.png", "b.png"))
    assert figures[1].texts[0].get_text().startswith("Lowest F1: c59, 0.14 (the lowest 40 of 1000 classes)")


def test_a_reliability_diagram_says_in_words_what_it_shows(figures, tmp_path):
    right = np.arange(100) < 70
    quality.draw_reliability(tmp_path / "a.png", np.full(100, 0.95), right, "validation images")
    assert figures[0].axes[0].get_title() == "The model is too sure:\nconfidence 95.0%, right 70.0%"


def test_a_character_that_no_font_has_is_spelt_out(monkeypatch):
    assert glyphs.drawable("кот, café and $x$") == "кот, café and $x$"
    monkeypatch.setattr(glyphs, "font_for", lambda code: None)
    assert glyphs.drawable("a 猫") == "a \\u732b"
    assert glyphs.width_of("a 猫") == 4
