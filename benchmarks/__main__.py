"""Run all benchmarks, or those named: `python -m benchmarks [NAME ...]`, from the top of the checkout.

The names are those of the scripts in this folder, which can also be run one by one with options of their own.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = [
    "startup", "digits", "loop_overhead", "image_training", "optimizer_step", "listing",
    "frozen", "accuracy", "sweep", "evaluate", "predict", "audit",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    failed = []
    for name in names:
        load = os.getloadavg()[0]
        print(f"\n## {name}   (load of the machine before: {load:.1f})\n", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
