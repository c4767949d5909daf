import time

import pytest

from expkit.data import UNLABELLED, csv
from expkit.errors import UserError


@pytest.fixture
def table(tmp_path, save):
    """Write a table beside ten images, img/0.jpg to img/9.jpg."""
    for number in range(10):
        save(f"img/{number}.jpg")

    def write(*lines: str, encoding: str = "utf-8") -> str:
        path = tmp_path / "labels.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return str(path)

    return write


def rows_of(images) -> dict[str, int]:
    return {images.name(index): int(images.labels[index]) for index in range(len(images))}


def test_labels_stay_text_and_valid_is_cut(table):
    lines = [f"img/{number}.jpg,{'001' if number < 5 else '1'}" for number in range(10)]
    data = csv(file=table("file,label", *lines), valid_pct=0.4)
    assert data.classes == ("001", "1")
    assert (len(data.train), len(data.valid), data.test) == (6, 4, None)
    assert {**rows_of(data.train), **rows_of(data.valid)} == {f"img/{n}.jpg": int(n >= 5) for n in range(10)}
    assert data.train.read(0).size == (16, 12)


def test_columns_separator_suffix_root_and_split(table, tmp_path):
    file = table(
        "split;name;breed", "train;0;cat", "train;1;dog", "valid;2;dog", "val;3;cat", "test;4;", "test;5;cat", ""
    )
    data = csv(
        file=file, root=str(tmp_path / "img"), file_column="name", label_column="breed", split_column="split",
        separator=";", suffix=".jpg",
    )  # fmt: skip
    assert rows_of(data.train) == {"0.jpg": 0, "1.jpg": 1}
    assert rows_of(data.valid) == {"2.jpg": 1, "3.jpg": 0}
    assert rows_of(data.test) == {"4.jpg": UNLABELLED, "5.jpg": 0}


def test_a_byte_order_mark_is_no_part_of_the_first_column(table):
    file = table("file,label", "img/0.jpg,a", "img/1.jpg,a", encoding="utf-8-sig")
    assert csv(file=file).classes == ("a",)


def test_quoted_and_unicode_cells(table, save):
    save("img/a, b.jpg")
    save("img/größe.jpg")
    data = csv(file=table("label,file", '"x, ""y""","img/a, b.jpg"', '"x, ""y""",img/größe.jpg'))
    assert data.classes == ('x, "y"',)
    assert len(data.train) == len(data.valid) == 1


HEAD = "file,label,split"
BAD_TABLES = {
    "a missing column": (["fil,label,split", "img/0.jpg,a,train"], r"no column 'file'; did you mean 'fil'"),
    "no rows": ([HEAD], "no rows below its header"),
    "an empty file": ([], "is empty"),
    "a column twice": (["file,label,label,split"], "column 'label' 2 times"),
    "missing cells": ([HEAD, "img/0.jpg,a"], "1 row of .* has not the 3 columns.*row 2: 2 columns"),
    "missing files": (
        [HEAD, "img/0.jpg,a,train", "img/1.jpg,a,valid", "img/77.jpg,a,train"],
        r"1 image .*labels\.csv.*row 4: img/77\.jpg does not exist",
    ),
    "the same file twice": (
        [HEAD, "img/0.jpg,a,train", "img/1.jpg,a,valid", "./img//0.jpg,a,train"],
        r"row 4: img/0\.jpg is listed again \(first in row 2\)",
    ),
    "an unknown label in valid": (
        [HEAD, "img/0.jpg,cat,train", "img/1.jpg,cta,valid"],
        "row 3: 'cta' .valid.; did you mean 'cat'",
    ),
    "an unknown label in test": ([HEAD, "img/0.jpg,a,train", "img/1.jpg,a,valid", "img/2.jpg,b,test"], "row 4: 'b'"),
    "no label": ([HEAD, "img/0.jpg,a,train", "img/1.jpg,,valid"], r"row 3: no label for img/1\.jpg"),
    "no file": ([HEAD, "img/0.jpg,a,train", ",a,valid"], "row 3: no file name"),
    "another split": ([HEAD, "img/0.jpg,a,trian"], "row 2: split 'trian', expected .* did you mean 'train'"),
    "no training row": ([HEAD, "img/0.jpg,a,valid"], "no row for training"),
    "a path above the root": ([HEAD, "../x.jpg,a,train"], r"row 2: \.\./x\.jpg leads out of the root"),
    "a path above the root, hidden": ([HEAD, "img/../../x.jpg,a,train"], "row 2: .*leads out of the root"),
    "an absolute path": ([HEAD, "/etc/passwd,a,train"], "row 2: /etc/passwd leads out of the root"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused(table, case):
    lines, message = BAD_TABLES[case]
    with pytest.raises(UserError, match=f"(?s){message}"):
        csv(file=table(*lines), split_column="split")


def test_links_are_followed_as_in_trees(table, tmp_path, save):
    root = tmp_path / "img"
    (tmp_path / "elsewhere").mkdir()
    (root / "out.jpg").symlink_to(save("elsewhere/a.jpg"))
    (root / "there").symlink_to(tmp_path / "elsewhere")
    (root / "in.jpg").symlink_to(root / "3.jpg")
    rows = ["0.jpg,a", "in.jpg,a", "out.jpg,a", "there/a.jpg,a"]
    assert len(csv(file=table("file,label", *rows), root=str(root)).train) == 3
    with pytest.raises(UserError, match=r"row 6: \.\./elsewhere/a\.jpg leads out of the root"):
        csv(file=table("file,label", *rows, "../elsewhere/a.jpg,a"), root=str(root))


def test_all_wrong_rows_are_counted_and_ten_are_named(table):
    lines = [f"img/{number}.jpg,a" for number in range(10)] + [f"img/{number}.jpg,a" for number in range(10)] + [",a"]
    with pytest.raises(UserError) as raised:
        csv(file=table("file,label", *lines))
    assert "11 rows" in str(raised.value)
    assert "row 12: " in str(raised.value)
    assert "row 21: " in str(raised.value)
    assert "and 1 more" in str(raised.value)


def test_unreadable_training_images_are_skipped_but_never_those_for_valid(table, tmp_path, caplog):
    lines = [HEAD, "img/0.jpg,a,train", "img/1.jpg,a,train", "img/2.jpg,a,valid", "img/3.jpg,,test"]
    (tmp_path / "img" / "1.jpg").write_bytes(b"")
    data = csv(file=table(*lines), split_column="split", on_bad_image="skip")
    assert rows_of(data.train) == {"img/0.jpg": 0}
    first = data.fingerprint
    (tmp_path / "img" / "3.jpg").write_bytes(b"")
    del lines[2]
    data = csv(file=table(*lines), split_column="split")
    assert "1 image of" in caplog.text
    assert "row 4: img/3.jpg is empty" in caplog.text
    assert data.test is not None
    assert len(data.test) == 1, "reading it is an error then, but nothing does in training"
    assert data.fingerprint == first, "which says what training and validation read"
    (tmp_path / "img" / "2.jpg").write_bytes(b"")
    for on_bad_image in ("skip", "error"):
        with pytest.raises(UserError, match=r"1 are for valid\):\n  row 3: img/2\.jpg is empty"):
            csv(file=table(*lines), split_column="split", on_bad_image=on_bad_image)


def test_a_file_that_is_no_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.file: .*gone\.csv does not exist"):
        csv(file=str(tmp_path / "gone.csv"))
    (tmp_path / "x.csv").write_bytes("file,label\ncaf\xe9.jpg,a\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"x\.csv cannot be read as CSV in utf-8.*write data\.encoding=cp1252"):
        csv(file=str(tmp_path / "x.csv"))


def test_the_separator_is_one_character():
    with pytest.raises(UserError, match="separator must be"):
        csv(file="x.csv", separator=", ")


def test_split_words_in_any_case_and_spelling(table):
    words = ["Train", "TRAINING", "validation", "Val", "dev", "Test", "testing"]
    lines = [f"img/{number}.jpg,a,{word}" for number, word in enumerate(words)]
    data = csv(file=table(HEAD, *lines), split_column="split")
    assert (len(data.train), len(data.valid), len(data.test)) == (2, 3, 2)


def test_a_split_column_that_is_not_named_is_told(table, caplog):
    lines = [f"img/{number}.jpg,{'ab'[number % 2]},{'test' if number > 7 else 'train'}" for number in range(10)]
    assert csv(file=table(HEAD, *lines)).test is None
    assert "a column 'split' of test, train, but all rows train" in caplog.text
    assert "write data.split_column=split" in caplog.text
    caplog.clear()
    assert csv(file=table(HEAD, *lines), split_column="split").test
    assert csv(file=table("file,label,set", *(f"img/{number}.jpg,{'ab'[number % 2]},{number}" for number in range(9))))
    assert not caplog.records


@pytest.mark.parametrize(
    ("column", "words"), [("is_valid", "False True"), ("is_train", "1 0"), ("Usage", "Train PublicTest")]
)
def test_a_split_column_of_yes_and_no_or_of_a_contest(table, caplog, column, words):
    train, other = words.split()
    lines = [f"img/{number}.jpg,{'ab'[number % 2]},{other if number > 5 else train}" for number in range(10)]
    head = f"file,label,{column}"
    csv(file=table(head, *lines))
    assert f"write data.split_column={column}" in caplog.text
    data = csv(file=table(head, *lines), split_column=column)
    assert len(data.test or data.valid) == 4


def test_a_split_is_told_from_a_label_where_no_row_names_the_columns(table):
    lines = [f"img/{number}.jpg,{'ab'[number % 2]},{'val' if number > 7 else 'train'}" for number in range(10)]
    with pytest.raises(UserError, match=r"write 'data.columns=\[file,label,split\]'"):
        csv(file=table(*lines), split_column="split")


def test_a_list_of_files_without_labels_is_named(table):
    with pytest.raises(UserError, match="has one column, which leaves none for labels"):
        csv(file=table("img/1.jpg", "img/2.jpg"))


def test_rows_above_the_header_are_told(table):
    lines = [f"img/{number}.jpg;{'ab'[number % 2]}" for number in range(10)]
    with pytest.raises(UserError, match="no column 'file' in row 1, but in row 2; remove what stands above"):
        csv(file=table("sep=;", "file;label", *lines))


def test_rows_repeat_with_a_key_only(table):
    lines = [f"img/{number}.jpg,{'a' if number < 5 else 'b'}" for number in range(10)]
    lines += [lines[7]] * 3 + [lines[8]] * 3 + [lines[9]] * 3
    file = table("file,label", *lines)
    with pytest.raises(UserError, match=r"9 rows .*if they repeat so that .* write data\.repeats=train"):
        csv(file=file)
    data = csv(file=file, repeats="train", valid_pct=0.4)
    train, valid = [[part.name(index) for index in range(len(part))] for part in (data.train, data.valid)]
    assert set(train).isdisjoint(valid)
    assert len(valid) == len(set(valid)) == 4
    copies = {name: train.count(name) for name in train}
    assert copies == {name: 4 if name in ("img/7.jpg", "img/8.jpg", "img/9.jpg") else 1 for name in copies}
    other = csv(file=table("file,label", *lines[:-1]), repeats="train", valid_pct=0.4)
    assert other.fingerprint != data.fingerprint
    assert data.notes[0] == "data.repeats=train: 3 images are listed, and train, several times"


def test_one_of_several_columns_of_flags_is_told(table, caplog):
    lines = [f"img/{number}.jpg,{number % 2},{number % 3 % 2}" for number in range(10)]
    data = csv(file=table("file,young,indoors", *lines), label_column="young")
    assert "of the columns of 0 and 1 only 'young' is the label (others: indoors)" in data.notes
    assert not caplog.records
    csv(
        file=table("file,cat,dog", *(f"img/{number}.jpg,{number % 2},{1 - number % 2}" for number in range(10))),
        label_column="cat",
    )
    assert "a single 1 (one-hot: cat, dog)" in caplog.text


def test_a_file_has_one_label_and_one_part_to_play(table):
    rows = ["img/0.jpg,a,train", "img/1.jpg,b,train", "img/2.jpg,a,valid"]
    for row, message in (
        ("img/0.jpg,b,train", r"listed again with the label 'b' \(first in row 2 with 'a'\).*multi-label"),
        ("img/0.jpg,a,valid", r"listed again for valid \(first in row 2 for train\)"),
        ("img/2.jpg,a,valid", r"listed again \(first in row 4\)"),
    ):
        with pytest.raises(UserError, match=f"row 5: .*{message}"):
            csv(file=table(HEAD, *rows, row), split_column="split", repeats="train")


def test_class_names_are_given_by_label_and_may_merge(table):
    labels = ["0", "1", "1.5", "2", "0", "1", "1.5", "2", "0", "2"]
    file = table("file,label", *(f"img/{number}.jpg,{label}" for number, label in enumerate(labels)))
    data = csv(file=file, class_names={0: "bird", 1: "cat", 1.5: "cat", "2": "dog"})
    assert data.classes == ("bird", "cat", "dog")
    with pytest.raises(UserError, match=r"data\.class_names has '7', which is no label"):
        csv(file=file, class_names={7: "cow"})


def test_names_that_pandas_takes_for_missing_are_labels(table):
    labels = ["NA", "null", "None", "n/a", "NULL"] * 2
    data = csv(file=table("file,label", *(f"img/{number}.jpg,{label}" for number, label in enumerate(labels))))
    assert set(data.classes) == set(labels)


def test_doubtful_labels_are_told_by_column(table, caplog):
    labels = ["cat", "Cat", "cat scab", "scab", "nan"] * 2
    file = table("file,label", *(f"img/{number}.jpg,{label}" for number, label in enumerate(labels)))
    csv(file=file)
    assert f"the column 'label' of {file}: 1 class seems to be spelt" in caplog.text
    assert "or merge them with 'data.class_names={cat: \"Cat\"}'" in caplog.text
    assert "label 'nan'" in caplog.text
    assert "multi-label" in caplog.text


def test_many_rows_with_unknown_labels_are_told_at_once(tmp_path):
    rows = [f"{number}.jpg,class_{number:06d},{'train' if number % 2 else 'valid'}" for number in range(60_000)]
    (tmp_path / "many.csv").write_text("\n".join([HEAD, *rows]))
    began = time.process_time()
    with pytest.raises(UserError):
        csv(file=str(tmp_path / "many.csv"), split_column="split")
    assert time.process_time() - began < 5
