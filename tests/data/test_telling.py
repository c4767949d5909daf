import logging

import numpy as np

from expkit.data import array
from expkit.data.telling import tell
from expkit.wiring import read

DIGITS = {"_target_": "expkit.data.digits", "classes": [3, 8], "valid_pct": 0.25, "seed": 7}


def test_what_was_read_and_assumed_is_told_once_a_process_and_logged_for_each_run(capsys, caplog):
    said = (
        "267 training and 90 validation images of 2 classes\n"
        "  valid is cut from train: data.valid_pct=0.25 of each class, data.seed=7"
    )
    with caplog.at_level(logging.INFO, "expkit.data"):
        read(DIGITS)
        read(DIGITS)
    assert capsys.readouterr().out == said + "\n"
    assert [record.getMessage() for record in caplog.records] == [said, said]


def test_the_line_counts_the_test_images_and_says_where_they_have_no_labels(capsys):
    pixels, labels = np.full((6, 4, 4, 3), 255, np.uint8), np.repeat([0, 1], 3)
    given = {"images": pixels, "labels": labels, "valid_images": pixels, "valid_labels": labels}
    one = array(images=pixels, labels=0 * labels, valid_images=pixels, valid_labels=0 * labels)
    labelled = array(**given, test_images=pixels[:2], test_labels=[0, 1])
    assert one.summary == "6 training and 6 validation images of 1 class"
    assert labelled.summary == "6 training and 6 validation images of 2 classes (test: 2)"
    assert array(**given, test_images=pixels[:2]).summary.endswith("of 2 classes (test: 2 without labels)")
    tell(labelled)
    assert capsys.readouterr().out == f"{labelled.summary}\n", "nothing was assumed, so nothing more is said"
