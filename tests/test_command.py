import shlex

import pytest

from expkit.command import command, override, pasted
from tests.conftest import composed

TEXTS = ["pets", "my pets", "it's", "a,b", "[a]", "a=b", "#1", "10", "1e-3", "true", "null", "~/pets", "Кошки", "${x}"]
TEXTS += ["a:b", "(a)", "{a: b}", 'say "a"', "a\\'b", "a\\", "50%", "$HOME", "", " a ", "a!b`c`", "猫/犬"]


@pytest.mark.parametrize("text", TEXTS)
def test_an_override_says_what_was_meant_through_shell_and_grammar(text):
    *start, word = shlex.split(command(override("data.root", text)))
    assert start == ["python", "-m", "expkit"]
    assert composed("data=folders", word).data.root == text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("resume=outputs/pets/1",), "python -m expkit resume=outputs/pets/1"),
        (
            ("--config-dir", "my configs", "+experiment=best"),
            "python -m expkit --config-dir 'my configs' +experiment=best",
        ),
        ((override("data.root", "a,b"),), "python -m expkit 'data.root=\"a,b\"'"),
        (("resume=Tom's pets",), 'python -m expkit "resume=Tom\'s pets"'),
    ],
)
def test_a_command_is_quoted_where_a_shell_needs_it_and_nowhere_else(words, line):
    assert command(*words) == line


def test_other_programs_are_quoted_in_the_same_way():
    assert pasted("mlflow", "ui", "--backend-store-uri", "sqlite:///a b.db") == (
        "mlflow ui --backend-store-uri 'sqlite:///a b.db'"
    )
