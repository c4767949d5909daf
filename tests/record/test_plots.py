"""Pictures: what is drawn of a schedule, and names in scripts for which no font may be installed."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from expkit.record import glyphs, plots
from expkit.run_folder import RunFolder


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written, with what is on them."""
    seen, write = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: (seen.append(figure), write(figure, path)))
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


def test_a_schedule_that_stays_is_drawn_from_0(figures, tmp_path):
    t = np.linspace(0, 1, 50)
    hypers = {"lr_0": np.full(50, 0.01) + 1e-17 * t, "mom_0": np.full(50, 0.9)}
    plots.draw_schedule(tmp_path / "a.png", t, hypers, ["head"], {"all": 0}, "epoch")
    (axes,) = figures[0].axes
    assert axes.get_ylim() == pytest.approx((0, 0.012))


@pytest.mark.parametrize("names", [("猫", "犬"), ("कुत्ता", "แมว"), ("кот", "Wörter"), ("\U0001f408", "a\tb")])
def test_names_in_any_script_bring_no_warning(figures, tmp_path, names):
    folder = RunFolder(tmp_path, "test")
    rows = {"label": list(names), "prediction": [names[0]] * 2}
    pq.write_table(pa.table(rows), folder.predictions)
    with warnings.catch_warnings(action="error"):
        plots.draw_confusion(folder, names)
    assert Image.open(folder.plots / "confusion.png").width > 100


def test_a_character_that_no_font_has_is_spelt_out(monkeypatch):
    assert glyphs.drawable("кот, café and $x$") == "кот, café and $x$"
    monkeypatch.setattr(glyphs, "font_for", lambda code: None)
    assert glyphs.drawable("a 猫") == "a \\u732b"
    assert glyphs.width_of("a 猫") == 4
