import logging

from expkit.logs import warning_on_screen


def test_a_warning_of_a_data_source_is_shown_once_a_process_and_others_each_time(capsys):
    said = "Something of this test alone"
    for _ in range(2):  # as in the jobs of a grid
        with warning_on_screen():
            logging.getLogger("expkit.data").warning(said)
            logging.getLogger("expkit.model").warning("Of the model")
    assert capsys.readouterr().err.split("\n") == [f"WARNING: {said}", *["WARNING: Of the model"] * 2, ""]
