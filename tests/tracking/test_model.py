import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from expkit.tracking.model import requirement
from tests.conftest import SMALL_MODEL

ALONE = """
import json, sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from packaging.requirements import Requirement

model, photos = sys.argv[1:]
waiting = [line.strip() for line in Path(model, "requirements.txt").read_text().splitlines()]
needed = set()
while waiting:
    wanted = Requirement(waiting.pop())
    name = wanted.name.lower().replace("_", "-")
    if name in needed or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
        continue
    needed.add(name)
    try:
        waiting += distribution(name).requires or []
    except PackageNotFoundError:
        pass  # an optional one of theirs
needed.add("expkit")  # whose code goes along
owners = packages_distributions()
absent = {top for top, names in owners.items() if not needed & {name.lower().replace("_", "-") for name in names}}
assert "hydra" in absent and "optuna" in absent, "or this shows nothing"


class Present(PathFinder):  # finds no module of a package that is not needed
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Present

import mlflow

table = mlflow.pyfunc.load_model(model).predict([photos])
import expkit

print(json.dumps([expkit.__file__, table["class"].tolist(), table["confidence"].tolist()]))
"""


def test_versions_of_the_model_are_those_that_every_index_knows(tmp_path, monkeypatch):
    info = tmp_path / "locally_built-2.14.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: locally-built\nVersion: 2.14.1+cu130\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert requirement("locally-built") == "locally-built==2.14.1"


def test_a_logged_model_needs_no_package_but_those_that_it_names(tmp_path):
    arguments = ["+experiment=digits", "epochs=1", "image_size=16", "num_workers=0", "hydra.run.dir=run", *SMALL_MODEL]
    subprocess.run([sys.executable, "-m", "expkit", *arguments], cwd=tmp_path, check=True, capture_output=True)
    (model,) = Path(tmp_path).glob("outputs/mlartifacts/**/MLmodel")
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", ALONE, str(model.parent), str(tmp_path / "grey.png")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, classes, confidences = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).parts[-3:] == ("code", "expkit", "__init__.py"), "the code that went along, not this one"
    assert len(classes) == len(confidences) == 1
