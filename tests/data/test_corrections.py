import pytest

from expkit.data import csv, folders
from expkit.errors import UserError


@pytest.fixture
def photos(tmp_path, save):
    """Twenty images in two class folders below tmp_path/tree."""
    for word in ("cat", "dog"):
        for number in range(10):
            save(f"tree/{word}/{number}.jpg")
    return tmp_path / "tree"


@pytest.fixture
def written(tmp_path):
    def write(*lines: str) -> str:
        path = tmp_path / "corrections.csv"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def rows_of(images) -> dict[str, int]:
    return {images.name(index): int(images.labels[index]) for index in range(len(images))}


def test_what_is_left_out_moves_no_other_image(photos, written):
    whole = folders(root=str(photos))
    gone = [whole.train.name(0), whole.valid.name(0)]
    data = folders(root=str(photos), exclude=written("why,file", *(f"twin,{name}" for name in gone)))
    assert rows_of(data.train) == {name: label for name, label in rows_of(whole.train).items() if name not in gone}
    assert rows_of(data.valid) == {name: label for name, label in rows_of(whole.valid).items() if name not in gone}
    assert data.fingerprint != whole.fingerprint
    assert any("2 images left out" in note for note in data.notes)


def test_labels_are_put_right_where_they_were(photos, written):
    whole = folders(root=str(photos))
    name, other = whole.train.name(0), whole.train.name(1)
    data = folders(root=str(photos), relabel=written("file,label", f"{name},dog", f"{other},cat"))
    assert rows_of(data.train) == {**rows_of(whole.train), name: 1}
    assert rows_of(data.valid) == rows_of(whole.valid)
    assert data.fingerprint != whole.fingerprint
    assert any("1 label changed, 1 as before" in note for note in data.notes)


def test_an_unreadable_image_that_is_left_out_stops_nothing(photos, written):
    (photos / "cat" / "3.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cat/3\.jpg"):
        folders(root=str(photos))
    data = folders(root=str(photos), exclude=written("file", "cat/3.jpg"))
    assert len(data.train) + len(data.valid) == 19


@pytest.mark.parametrize(
    ("key", "lines", "message"),
    [
        ("exclude", ["file", "cat/1.jpg", "", "cat/77.jpg"], r"data\.exclude.*row 4: cat/77\.jpg"),
        ("exclude", ["name", "cat/1.jpg"], r"data\.exclude: row 1 of .* lacks 'file'"),
        ("relabel", ["file,label", "cat/1.jpg,dgo"], r"data\.relabel.*did you mean 'dog'.*row 2: cat/1\.jpg: 'dgo'"),
        ("relabel", ["file,label", "cat/1.jpg,dog", "cat/1.jpg,cat"], r"row 3 of .* gives cat/1\.jpg the label 'cat'"),
        ("relabel", ["file", "cat/1.jpg"], "lacks 'label'"),
        ("relabel", ["file,label", "cat/1.jpg"], r"row 2 of .* has not the 2 columns"),
    ],
)
def test_mistakes_name_key_and_row(photos, written, key, lines, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        folders(root=str(photos), **{key: written(*lines)})


def test_a_missing_file_is_named(photos, tmp_path):
    with pytest.raises(UserError, match=r"data\.exclude: .*none\.csv does not exist"):
        folders(root=str(photos), exclude=str(tmp_path / "none.csv"))


@pytest.fixture
def table(tmp_path, photos):
    """Write a table of the twenty images with a patient for each pair, and the split that `split` gives."""

    def write(split=None) -> str:
        lines = ["file,label,patient" + (",split" if split else "")]
        for number in range(10):
            for word in ("cat", "dog"):
                patient = f"p{number // 2}" if number < 8 else ""
                lines.append(f"{word}/{number}.jpg,{word},{patient}" + (f",{split(number)}" if split else ""))
        path = photos / "labels.csv"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def patients(images) -> set[int]:
    return {number // 2 for name in rows_of(images) if (number := int(name[4])) < 8}


def test_valid_is_cut_by_whole_groups(table):
    data = csv(file=table(), group_column="patient", valid_pct=0.3, seed=1)
    assert patients(data.train).isdisjoint(patients(data.valid))
    assert 4 <= len(data.valid) <= 8
    assert any("whole groups of data.group_column=patient" in note for note in data.notes)
    assert csv(file=table(), valid_pct=0.3, seed=1).fingerprint != data.fingerprint


def test_groups_on_both_sides_of_a_given_split_are_told(table, caplog):
    csv(
        file=table(lambda number: "valid" if number in (1, 2, 3) else "train"),
        group_column="patient",
        split_column="split",
    )
    assert "1 group of data.group_column=patient" in caplog.text
    assert "with 2 of its 6 images" in caplog.text
    assert "p0" in caplog.text


def test_groups_that_are_too_large_to_cut_are_an_error(table):
    path = table()
    text = open(path).read().replace(",p1", ",p0").replace(",p2", ",p0").replace(",p3", ",p0")
    lines = [line for line in text.splitlines() if not line.endswith(",")]
    open(path, "w").write("\n".join(lines) + "\n")
    assert (
        "group_column=patient holds more than twice data.valid_pct=0.2" in csv(file=path, group_column="patient").unfit
    )
