"""python page.py PAGE: run the blocks of a page as they stand, from top to bottom, in this process."""

import re
import shlex
import sys
from pathlib import Path

from expkit.__main__ import main

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_command(line: str) -> None:
    """Run `python -m expkit ...` as the command line does."""
    python, flag, module, *arguments = shlex.split(line)
    assert (python, flag, module) == ("python", "-m", "expkit"), line
    sys.argv[1:] = arguments
    main()


def run_page(page: Path) -> int:
    """Run a page; gives how many blocks it has."""
    text, names = page.read_text(encoding="utf-8"), {"__name__": "page"}
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        if language == "python":
            line = text[: block.start(2)].count("\n")
            exec(compile("\n" * line + code, str(page), "exec"), names)
        elif language == "sh":
            for command in code.splitlines():
                run_command(command)
    return len(BLOCK.findall(text))


if __name__ == "__main__":
    print(run_page(Path(sys.argv[1])), "blocks")
