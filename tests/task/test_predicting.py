"""Predictions for many images, by what a run left alone: real photos, a trained model, killed processes."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from expkit.command_line.of_run import config_for
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.task.predicting import predict
from expkit.task.training import train
from expkit.tracking.finding import config_of
from tests.conftest import PETS, SMALL_MODEL, composed
from tests.forked import expkit, start, wait_until

BREEDS = ("Abyssinian", "beagle", "pug")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Thirty photos in a folder for each breed."""
    if not PETS.is_dir():
        pytest.skip("the sample of Oxford-IIIT Pets does not lie beside this checkout (../shared/data/pets_mini)")
    root = tmp_path_factory.mktemp("photos")
    for breed in BREEDS:
        (root / breed).mkdir()
        for path in sorted((PETS / "images").glob(f"{breed}_*.jpg"))[:10]:
            shutil.copy(path, root / breed)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos):
    """A run on a copy of these photos, which is gone by the time the run is used."""
    data = tmp_path_factory.mktemp("data") / "copy"
    shutil.copytree(photos, data)
    overrides = [
        *("data=folders", f"data.root={data}", "data.valid_pct=0.4", *SMALL_MODEL, "image_size=64", "epochs=2"),
        *("batch_size=8", "num_workers=0", "tracking=none"),
    ]
    config = config_of(composed(*overrides))
    folder = RunFolder.create(tmp_path_factory.mktemp("run") / "run", "test", vars(config), overrides)
    train(config, folder)
    shutil.rmtree(data)
    return folder


def predicted(run, *overrides, **keys):
    """Predict in this process, as the command line does."""
    config = config_for(run, ["task=predict", "task.source=given", "num_workers=0", *overrides])
    predict(config, run, **{key: str(value) if key in ("source", "out") else value for key, value in keys.items()})


def rows_of(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def arguments_for(run, *arguments):
    return (f"run={run.path}", "task=predict", "num_workers=0", *arguments)


def test_validation_images_get_what_the_run_said_of_them_to_the_bit(run, photos, tmp_path):
    said = pq.read_table(run.predictions).to_pylist()
    (tmp_path / "list.txt").write_text("\n".join(row["file"] for row in said))
    predicted(run, source=tmp_path / "list.txt", out=tmp_path / "p.parquet", root=str(photos))
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["file", "class", "confidence"]
    assert table.to_pylist() == [
        {"file": row["file"], "class": row["prediction"], "confidence": row["confidence"]} for row in said
    ]


def test_csv_and_parquet_say_the_same_on_any_number_of_workers(run, photos, tmp_path):
    predicted(run, source=photos, out=tmp_path / "p.csv", top_k=3, probabilities=True)
    predicted(run, "num_workers=2", source=photos, out=tmp_path / "p.parquet", top_k=3, probabilities=True)
    rows, table = rows_of(tmp_path / "p.csv"), pq.read_table(tmp_path / "p.parquet")
    assert [row["file"] for row in rows] == sorted(str(path.relative_to(photos)) for path in photos.glob("*/*"))
    assert list(rows[0]) == table.column_names
    assert table.column_names[1:5] == ["class", "confidence", "class_2", "confidence_2"]
    for row, other in zip(rows, table.to_pylist(), strict=True):
        shares = {breed: float(row[f"p_{breed}"]) for breed in BREEDS}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert [row["class"], row["class_2"], row["class_3"]] == sorted(shares, key=shares.get, reverse=True)
        assert row == {key: value if isinstance(value, str) else row[key] for key, value in other.items()}
        assert [float(row[key]) for key in row if key[:2] in ("co", "p_")] == pytest.approx(
            [value for key, value in other.items() if key[:2] in ("co", "p_")], rel=1e-7
        )


def test_what_cannot_be_read_is_listed_and_the_rest_goes_on(run, photos, tmp_path, capsys):
    mixed = tmp_path / "mixed"
    shutil.copytree(photos / "pug", mixed)
    whole = next(mixed.iterdir()).read_bytes()
    (mixed / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (mixed / "empty.png").write_bytes(b"")
    (mixed / "notes.txt").write_text("no image")
    odd = [b'comma, "quotes".jpg', b"line\nbreak.jpg", b"carriage\rreturn.jpg", b"caf\xe9.jpg"]
    for name in odd:
        (mixed / os.fsdecode(name)).write_bytes(whole)
    predicted(run, source=mixed, out=tmp_path / "p.csv")
    names = {os.fsencode(row["file"]) for row in rows_of(tmp_path / "p.csv")}
    assert names == {os.fsencode(path.name) for path in (photos / "pug").iterdir()} | set(odd)
    wrong = {row["file"]: row["reason"] for row in rows_of(tmp_path / "p.csv.unreadable.csv")}
    assert wrong.keys() == {"cut.jpg", "empty.png"}
    assert "truncated" in wrong["cut.jpg"]
    said = capsys.readouterr()
    assert "16 images in" in said.out
    assert "2 of them could not be read, listed in" in said.out
    assert "1 file that is no image by suffix" in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed", "p.csv", "p.csv.unreadable.csv"]


def many(photos, folder, times):
    """A folder with `times` links to each photo."""
    folder.mkdir()
    for path in photos.glob("*/*"):
        for number in range(times):
            (folder / f"{number:03}_{path.name}").symlink_to(path)
    return folder


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_killed_process_is_gone_on_with(run, photos, tmp_path, capsys, suffix):
    source = many(photos, tmp_path / "many", 50)
    (source / "000_bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    out, partial = tmp_path / f"p.{suffix}", tmp_path / f"p.{suffix}.partial"
    state = tmp_path / f"p.{suffix}.partial.json"
    arguments = arguments_for(run, f"task.source={source}", f"task.out={out}", "batch_size=8")
    process = start(*arguments, cwd=tmp_path)
    wait_until(lambda: state.exists() and json.loads(state.read_text())["done"] > 0, process)
    process.kill()
    process.communicate()
    assert not out.exists()
    done = json.loads(state.read_text())["done"]
    assert 0 < done < 1501
    with open(partial, "ab") as file:
        file.write(b"003_beagle_1.jpg,bea")  # as a line is torn
    predicted(run, "batch_size=8", source=source, out=out)
    assert f"({done} were done before)" in capsys.readouterr().out
    predicted(run, "batch_size=8", source=source, out=tmp_path / f"whole.{suffix}")
    if suffix == "csv":
        assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    else:
        assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert rows_of(f"{out}.unreadable.csv")[0]["file"] == "000_bad.jpg"
    assert not list(tmp_path.glob("*.partial*"))


def test_a_stopped_process_says_how_to_go_on_and_refuses_another_source_or_model(run, photos, tmp_path):
    source, out = many(photos, tmp_path / "many", 50), tmp_path / "p.csv"
    arguments = arguments_for(run, f"task.source={source}", f"task.out={out}", "batch_size=8")
    process = start(*arguments, cwd=tmp_path)
    state = tmp_path / "p.csv.partial.json"
    wait_until(lambda: state.exists() and json.loads(state.read_text())["done"] > 0, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 143, said
    assert "the same command goes on" in said
    with pytest.raises(UserError, match="begun with columns other than now"):
        predicted(run, source=source, out=out, top_k=2)
    first = min(source.iterdir())
    first.rename(source / "zzz.jpg")
    with pytest.raises(UserError, match=r"other images than when .* was begun"):
        predicted(run, source=source, out=out)
    (source / "zzz.jpg").rename(first)
    kept = run.result.read_text()
    run.result.write_text(kept.replace('"pug"', '"mops"'))
    try:
        with pytest.raises(UserError, match="begun with a model other than now"):
            predicted(run, source=source, out=out)
    finally:
        run.result.write_text(kept)
    predicted(run, source=source, out=out)
    assert len(rows_of(out)) == 1500


def test_standard_input_to_standard_output(run, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    names = [os.fsencode(path) for path in sorted(photos.glob("pug/*"))] + [b"bad.jpg", b"missing.jpg"]
    done = subprocess.run(
        [sys.executable, "-m", "expkit", *arguments_for(run, "task.source=-", "task.out=-")],
        cwd=tmp_path,
        input=b"\0".join(names),
        capture_output=True,
        timeout=300,
        check=False,
    )
    said = done.stderr.decode()
    assert done.returncode == 0, said
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [os.fsencode(row["file"]) for row in rows] == names[:-2]
    assert {row["class"] for row in rows} <= set(BREEDS)
    assert "'bad.jpg' is no image that can be read" in said
    assert "'missing.jpg' cannot be opened (No such file or directory)" in said
    assert "12 images in" in said
    assert list(tmp_path.iterdir()) == [tmp_path / "bad.jpg"]


def test_a_file_that_is_there_is_not_written_over(run, photos, tmp_path):
    (tmp_path / "p.csv").write_text("mine")
    with pytest.raises(UserError, match="is there already, and is not written over"):
        predicted(run, source=photos, out=tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == "mine"
    (tmp_path / "q.csv.partial").write_text("mine")
    with pytest.raises(UserError, match="is in the way"):
        predicted(run, source=photos, out=tmp_path / "q.csv")
    assert (tmp_path / "q.csv.partial").read_text() == "mine"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"out": "p.xlsx"}, "must end in .csv or .parquet"),
        ({"out": "lacking/p.csv"}, "there is no folder lacking"),
        ({"out": f"{'a' * 250}.csv"}, r"a\.csv could not be written \(File name too long\)"),
        ({"out": "/proc/p.csv"}, "could not be written"),
        ({"source": "lacking"}, "lacking does not exist"),
        ({"top_k": 4}, "task.top_k=4 is more than the model has classes, 3"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(run, photos, tmp_path, monkeypatch, keys, expected):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=expected):
        predicted(run, **({"source": photos, "out": "p.csv"} | keys))
    assert not list(tmp_path.iterdir())


def test_where_no_image_can_be_read_there_is_no_table(run, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(UserError, match="the only image cannot be read; what is wrong is listed in"):
        predicted(run, source=tmp_path / "a.jpg", out=tmp_path / "p.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "p.csv.unreadable.csv"]


def test_a_model_whose_package_is_not_installed(run, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install 'expkit\[timm\]'"):
        predicted(run, source=photos, out=tmp_path / "p.csv")


def test_a_run_of_an_older_version_that_said_less_of_itself(run, photos, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(run.path, older)
    result = json.loads((older / "result.json").read_text())
    kept = {key: result[key] for key in ("classes", "metrics", "objective", "precision", "reading")}
    (older / "result.json").write_text(json.dumps(kept))
    predicted(RunFolder.at(older), source=photos, out=tmp_path / "older.csv")
    predicted(run, source=photos, out=tmp_path / "p.csv")
    assert (tmp_path / "older.csv").read_bytes() == (tmp_path / "p.csv").read_bytes()


def test_a_run_that_is_not_finished_gives_its_best_epoch_and_says_so(run, photos, tmp_path, capsys):
    stopped = tmp_path / "stopped"
    shutil.copytree(run.path, stopped)
    (stopped / "result.json").unlink()
    (stopped / "checkpoints" / "model.safetensors").unlink()
    predicted(RunFolder.at(stopped), source=photos, out=tmp_path / "stopped.csv")
    assert "is not finished: what is used are the weights of its best epoch so far" in capsys.readouterr().err
    predicted(run, source=photos, out=tmp_path / "p.csv")
    assert (tmp_path / "stopped.csv").read_bytes() == (tmp_path / "p.csv").read_bytes()


def test_without_a_run_the_message_says_what_to_write(tmp_path):
    status, _, err = expkit("+experiment=digits", "task=predict", "task.source=x", cwd=tmp_path)
    assert status == 1
    assert err.startswith("error: task=predict needs the run whose model is to be used")
    assert not list(tmp_path.glob("outputs/*/*"))
