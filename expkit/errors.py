"""The one exception that means "the user can mend this"."""


class UserError(Exception):
    """A mistake in a config, a file or a command: one readable message, shown without a traceback (exit status 1).

    The message names the key, file or row at fault, what was expected and what to do.
    """


def first_ten(problems: list[str]) -> str:
    """Join up to ten problems, one a line, and say how many more there are."""
    shown = "\n".join(f"  {problem}" for problem in problems[:10])
    left = len(problems) - 10
    return f"{shown}\n  ... and {left} more" if left > 0 else shown
