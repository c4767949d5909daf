import pytest

from expkit.augment import none, side_on
from expkit.features import FeatureCache
from expkit.run_folder import RunFolder
from expkit.task.cache_care import cache
from tests.features.tiny import HOUR, SIZE, entries_in, files_in, frozen_of, grow_old, photos


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache with two views, of which the second was not used for ten days, and what a killed build left."""
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    images = files_in(photos(tmp_path / "photos"))
    views = FeatureCache().views(frozen_of(), images, side_on(SIZE), [None, 1], part="train")
    grow_old(views[1].entry.folder / "marker.json", 10 * 24 * HOUR)
    (tmp_path / "cache" / "features" / "0123.partial").mkdir()
    (tmp_path / "cache" / "features" / "0123.partial" / "rows.bin").write_bytes(b"x" * 5000)
    return tmp_path / "cache" / "features"


@pytest.fixture
def run(config_of, tmp_path, capsys):
    def look(**keys):
        cache(config_of("+experiment=digits"), RunFolder(tmp_path / "run", "digits"), **keys)
        return capsys.readouterr().out

    return look


def test_the_table_says_what_there_is_how_large_and_where(run, folder, tmp_path):
    shown = run()
    rows = [line.split() for line in shown.splitlines()]
    train = next(row for row in rows if "view" not in row and "train" in row)
    assert train[:4] == ["tiny", "train", "of", str(tmp_path / "photos") + ","]
    assert "20 x 8" in shown
    assert "train of" in shown
    assert "view 1" in shown
    assert "the body's weights" in shown
    assert "left unfinished" in shown
    assert "5.0 kB" in shown
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert f"4 entries, {size / 1000:.1f} kB in {folder}" in shown
    assert len(entries_in(folder)) == 2


def test_what_was_not_used_for_so_many_days_goes_with_leftovers(run, folder):
    shown = run(older_than=9)
    assert "removed 2 entries" in shown
    assert "view 1" not in shown
    assert len(entries_in(folder)) == 1
    assert not (folder / "0123.partial").exists()


def test_zero_days_remove_all_that_is_not_in_use(run, folder, tmp_path):
    used = FeatureCache().features(frozen_of(), files_in(tmp_path / "photos"), none(SIZE))
    run(older_than=0)
    assert entries_in(folder) == [used.entry.folder]
    used.entry.held.close()
    assert "0 entries, 0 bytes in" in run(older_than=0)


def test_an_empty_cache_is_no_error(run, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "none"))
    assert f"0 entries, 0 bytes in {tmp_path / 'none' / 'features'}" in run()
    assert not (tmp_path / "none").exists()
