"""An export gives what the run gives, by its own files alone."""

import json
import re
import resource
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from expkit.build import build
from expkit.errors import UserError
from expkit.model.weights import save_weights
from expkit.run_folder import RunFolder
from expkit.task.exporting import export
from expkit.trained.classifier import Trained
from expkit.trained.export.formats import runner
from expkit.whole_files import read_json, write_json
from tests.conftest import composed

ROOT = Path(__file__).parents[2]
HAS_ONNX = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
ONNX = pytest.param("onnx", marks=pytest.mark.skipif(not HAS_ONNX, reason="onnx: pip install 'expkit[onnx]'"))
FORMATS = ["safetensors", ONNX, "torch_export"]
FAMILIES = {
    "resnet18": ["model=resnet18"],
    "xresnet18, linear": ["model=xresnet18", "model.head=linear"],
    "test_resnet": ["model=timm", "model.name=test_resnet"],
    "test_vit": ["model=timm", "model.name=test_vit", "image_size=160"],
    "test_convnext": ["model=timm", "model.name=test_convnext"],
    "efficientnet_lite0": ["model=efficientnet_lite0", "model.weights=null"],
}
SMALL = FAMILIES["test_resnet"]
BOTTLENECKS = ["model=xresnet50", "model.head=linear"]
ALONE = """
import sys, runpy
sys.path += {paths!r}
sys.modules["expkit"] = None  # were it installed, it would not be found
try:
    import expkit
except ImportError:
    pass
else:
    raise SystemExit("expkit is there")
sys.argv[:] = ["classify.py", *sys.argv[1:]]
runpy.run_path({program!r}, run_name="__main__")
print("torch" in sys.modules, any(name.startswith("expkit.") for name in sys.modules))
"""


@pytest.fixture
def run_of(tmp_path, colour_folders, config_of):
    """A run's folder and config, as training with these overrides leaves them, with random weights."""

    def make(*overrides, precision="fp32", temperature=None, seed=0):
        given = ["data=folders", f"data.root={colour_folders}", "image_size=64", *overrides]
        config = config_of(*given)
        values = composed(*given)
        folder = RunFolder.create(tmp_path / f"run{seed}", "colours", values, list(given))
        torch.manual_seed(seed)
        model = build(config.model, 2, group="model")
        folder.exported_weights.parent.mkdir()
        save_weights(model, folder.exported_weights)
        reading = {"alpha": "white", "white": None, "arrays": None}
        metrics = {"last": {"valid_accuracy": 0.5, "train_loss": 1.0}, "best": {"valid_accuracy": 0.75}}
        known = {
            "classes": ["blue", "red"],
            "reading": reading,
            "precision": precision,
            "fingerprint": "0123456789abcdef",
        }
        write_json(folder.result, {**known, "metrics": metrics, "epochs": 3, "best_epoch": 2})
        if temperature:
            write_json(folder.calibration, {"temperature": temperature})
        return folder, config

    return make


def photos(folder, count=6):
    """Photos of several shapes, one of them on its side by its EXIF orientation, and one with transparency."""
    draw = np.random.default_rng(1)
    paths = []
    for number in range(count):
        height, width = draw.integers(50, 300, 2)
        small = draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((int(width), int(height)), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 1 else 1
        if number == 2:
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        paths.append(folder / f"photo{number}.{'png' if number == 2 else 'jpg'}")
        picture.save(paths[-1], exif=exif)
    return paths


def classified(place, tmp_path, files):
    """What the program of docs/export.md prints where there is no expkit, and whether it had torch or expkit."""
    program = tmp_path / "classify.py"
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    program.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    code = ALONE.format(paths=paths, program=str(program))
    command = [sys.executable, "-I", "-S", "-c", code, str(place), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *rows, last = done.stdout.splitlines()
    return [row.split("\t") for row in rows], last.split()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_in_every_format_what_the_run_gives(run_of, tmp_path, colour_folders, family, format):
    # The network is written as Python for safetensors alone: there blocks of both kinds count.
    overrides = BOTTLENECKS if (family, format) == ("xresnet18, linear", "safetensors") else FAMILIES[family]
    folder, config = run_of(*overrides, temperature=1.5)
    export(config, folder, out=str(tmp_path / "out"), format=format)
    trained = Trained.of_run(folder)
    files = sorted(colour_folders.glob("valid/*/*.jpg"))
    images = torch.stack([trained.pixels(path) for path in files]).permute(0, 3, 1, 2)
    run = runner(format, tmp_path / "out")
    for number in (1, 3, 16):
        logits, probabilities = run(images[:number])
        wanted = trained.logits(images[:number])
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
        torch.testing.assert_close(probabilities, trained.probabilities(images[:number]), rtol=0, atol=1e-4)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "on 16 validation images" in card
    assert "0123456789abcdef" in card


@pytest.mark.parametrize("format", FORMATS)
def test_the_program_of_the_docs_classifies_photos_without_expkit(run_of, tmp_path, format):
    folder, config = run_of(*SMALL, temperature=0.5)
    out, files = tmp_path / "out", photos(tmp_path)
    export(config, folder, out=str(out), format=format)
    rows, (torch_there, expkit_there) = classified(out, tmp_path, files)
    wanted = Trained.of_run(folder).predict(files)
    assert [row[:2] for row in rows] == [[str(path), name] for path, name in zip(files, wanted["class"], strict=True)]
    np.testing.assert_allclose([float(row[2]) for row in rows], wanted["confidence"], atol=0.01)
    assert expkit_there == "False"
    assert torch_there == str(format != "onnx")


@pytest.mark.parametrize("resize", ["crop", "pad", "squish"])
def test_the_program_of_the_docs_sees_the_pixels_of_validation(run_of, tmp_path, resize):
    folder, config = run_of(*SMALL, f"augment.resize={resize}")
    export(config, folder, out=str(tmp_path / "out"))
    program = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)[1]
    names: dict[str, object] = {}
    exec(program.partition("\nfolder, photos =")[0], names)
    recipe = read_json(tmp_path / "out" / "preprocessing.json")
    trained = Trained.of_run(folder)
    for path in photos(tmp_path, 12):
        seen = names["prepared"](path, recipe).transpose(1, 2, 0).astype(int)
        wanted = trained.pixels(path).numpy().astype(int)
        assert np.abs(seen - wanted).max() <= 1, path.name
    names["check"](tmp_path / "out")
    (tmp_path / "out" / "classes.json").write_text('["blue"]')
    with pytest.raises(SystemExit, match=r"classes\.json is not the file that was exported"):
        names["check"](tmp_path / "out")


def test_what_is_calibrated_or_validated_in_bfloat16_says_so(run_of, tmp_path):
    folder, config = run_of(*SMALL, precision="bf16", temperature=2.0)
    export(config, folder, out=str(tmp_path / "out"))
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Validated in bfloat16, exported in float32" in card
    assert "logits / 2 " in card
    assert "| accuracy | 0.5000 | 0.7500 |" in card
    assert str(tmp_path) not in card, "nor any other path of this machine"
    assert "root: a path on the machine that trained" in card
    assert read_json(tmp_path / "out" / "preprocessing.json")["temperature"] == 2.0
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == ["blue", "red"]


def test_a_run_whose_data_is_gone_is_checked_on_noise_and_says_so(run_of, tmp_path, colour_folders, caplog, capsys):
    folder, config = run_of(*SMALL)
    colour_folders.rename(tmp_path / "elsewhere")
    export(config, folder, out=str(tmp_path / "out"))
    shown = capsys.readouterr()
    assert "the run's data cannot be read" in shown.err
    assert "on 16 images of noise" in shown.out
    assert "images of noise" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


def test_an_unfinished_run_gives_its_best_weights_and_says_so(run_of, tmp_path, capsys):
    folder, config = run_of(*SMALL)
    folder.exported_weights.rename(folder.best_weights)
    folder.note(outcome=read_json(folder.result), fingerprint="0123456789abcdef")
    folder.result.unlink()
    export(config, folder, out=str(tmp_path / "out"))
    assert "is not finished" in capsys.readouterr().err
    assert "not finished" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


def test_an_export_that_differs_is_not_kept(run_of, tmp_path, monkeypatch):
    folder, config = run_of(*SMALL)
    monkeypatch.setattr("expkit.trained.export.standalone.PAGE", _page_with_other_shift())
    with pytest.raises(UserError, match="does not give what the run's own model gives"):
        export(config, folder, out=str(tmp_path / "out"))
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def _page_with_other_shift():
    from expkit.trained.export.standalone import PAGE

    return PAGE.replace("torch.addcmul(self.shift,", "torch.addcmul(self.shift + 0.5,")


def test_a_folder_that_exists_is_left_alone(run_of, tmp_path):
    folder, config = run_of(*SMALL)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"task\.out=.* exists already"):
        export(config, folder, out=str(tmp_path / "out"))


@pytest.mark.parametrize("format", ["safetensors", ONNX])
def test_a_disk_that_is_full_is_told_and_nothing_is_left(run_of, tmp_path, format):
    folder, config = run_of(*SMALL)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"task\.out=.* could not be written .*free some space"):
            export(config, folder, out=str(tmp_path / "out"), format=format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_training_goes_on_from_an_export_unless_it_was_changed(run_of, tmp_path):
    folder, config = run_of(*SMALL)
    out = tmp_path / "out"
    export(config, folder, out=str(out))
    model = build({**config.model, "weights": str(out)}, 2, group="model")
    wanted = Trained.of_run(folder).model.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "model.safetensors").write_bytes(content)
    for weights in (out, out / "model.safetensors"):
        with pytest.raises(UserError, match="is not the file that was exported"):
            build({**config.model, "weights": str(weights)}, 2, group="model")


def test_a_run_of_an_earlier_version_that_does_not_say_how_it_read_images_is_refused(run_of, tmp_path):
    folder, config = run_of(*SMALL)
    result = read_json(folder.result)
    for lacking in ("reading", "precision"):
        write_json(folder.result, {key: value for key, value in result.items() if key != lacking})
        with pytest.raises(
            UserError, match=f"lacks '{lacking}', as of a run of an earlier version of expkit: .* train"
        ):
            export(config, folder, out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_experiment_that_was_not_trained_is_refused(run_of, tmp_path):
    folder, config = run_of(*SMALL)
    folder.result.unlink()
    with pytest.raises(
        UserError, match="was stopped before its first epoch ended, so it has no weights yet: go on with it by"
    ):
        export(config, folder, out=str(tmp_path / "out"))
    folder, config = run_of(*SMALL, "task=export", "task.out=out", seed=1)
    folder.result.unlink()
    with pytest.raises(UserError, match="needs a run that was trained: name it with run=RUN"):
        export(config, folder, out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_model_of_ones_own_goes_into_graphs_but_not_into_safetensors(run_of, tmp_path, monkeypatch):
    (tmp_path / "mine_to_export.py").write_text(
        "from torch import nn\nfrom expkit.model.classifier import LayerGroup\n\n\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, classes))\n"
        "        self.layer_groups = [LayerGroup('all', (self.net,))]\n\n"
        "    def forward(self, images):\n"
        "        return self.net(images.float() / 255)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder, config = run_of(*SMALL)
    from mine_to_export import Mine

    node = {"_target_": "mine_to_export.Mine"}
    text = folder.config.read_text(encoding="utf-8")
    from omegaconf import OmegaConf

    values = OmegaConf.create(text)
    values.model = node
    OmegaConf.save(values, folder.config)
    save_weights(Mine(2), folder.exported_weights)
    monkeypatch.setenv("EXPKIT_TRUST", "mine_to_export")
    with pytest.raises(UserError, match=r"task\.format=onnx or torch_export"):
        export(config, folder, out=str(tmp_path / "weights"))
    export(config, folder, out=str(tmp_path / "program"), format="torch_export")
    assert not (tmp_path / "weights").exists()
    assert read_json(tmp_path / "program" / "preprocessing.json")["mean"] is None
