"""Where a bar moves, where lines are printed, and where nothing is said. Of notebooks: tests/docs."""

import io
import sys
import time

import pytest

from expkit.bar import Bar, drawn, table
from expkit.screen import console, say, saying


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(bar, monkeypatch):
    began = time.monotonic()
    for second in range(1, 181):
        monkeypatch.setattr(time, "monotonic", lambda second=second: began + second)
        if bar.is_due:
            bar.show(second, "work", f"at {second}", f"work: {second} of 180")
    bar.add({"epoch": "1"}, "epoch 1 is done")
    bar.close()


def test_a_terminal_has_a_bar_that_goes(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    shown(Bar(180), monkeypatch)
    out = sys.stdout.getvalue()
    assert "170/180" in out
    assert "epoch 1 is done" in out
    assert "work: 60" not in out
    assert out.endswith("\x1b[2K")  # where it was is cleared


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "PATH"])
def test_a_file_has_a_line_a_minute_whatever_force_color_says(variable, monkeypatch, capsys):
    monkeypatch.setenv(variable, "1")
    shown(Bar(180), monkeypatch)
    assert capsys.readouterr().out.splitlines() == [
        *("work: 60 of 180", "work: 120 of 180", "work: 180 of 180", "epoch 1 is done")
    ]


def test_where_nothing_is_wanted_nothing_is_said(monkeypatch, capsys):
    with saying("nothing"):
        shown(Bar(180), monkeypatch)
        say("a line")
        console().print("a table")
    with saying("progress"):
        say("a report", report=True)
        console(report=True).print("a report")
        say("a line", stderr=True)
    assert capsys.readouterr() == ("", "a line\n")


def test_a_page_shows_names_as_they_are():
    assert "&lt;b&gt;" in drawn(1, None, "<b>", "")
    assert "1/?" in drawn(1, None, "", "")
    rows = [{"epoch": f"{number}/30", "<loss>": "0.5"} for number in range(30)]
    page = table(rows)
    assert "&lt;loss&gt;" in page
    assert ("10 more" in page, "<td>9/30" in page, "<td>10/30" in page) == (True, False, True)
