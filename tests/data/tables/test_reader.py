import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from expkit.data import csv
from expkit.errors import UserError

KEYS = {"file_column": "file", "label_column": "label"}
ROWS = [f"{number}.png,{'cat' if number % 2 else 'dog'}" for number in range(8)]


@pytest.fixture
def write(tmp_path, save):
    """Write bytes or text beside eight images."""
    for number in range(8):
        save(f"{number}.png")
        save(f"größe{number}.png")

    def write_table(content: str | bytes, name: str = "labels.csv", encoding: str = "utf-8") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return str(path)

    return write_table


def pasted(message: str) -> dict[str, object]:
    """The keys that a message says to write, read as a shell and Hydra read them."""
    words = shlex.split(message[re.search(r"(write |found: )(?=\S*data\.)", message).end() :])
    overrides = OverridesParser.create().parse_overrides([word for word in words if "=" in word])
    return {override.key_or_group.removeprefix("data."): override.value() for override in overrides}


def check_mended(file: str, **given) -> None:
    """The table is refused, and read with the keys that the message names."""
    with pytest.raises(UserError) as refused:
        csv(file=file, **given)
    data = csv(**{"file": file, **given, **pasted(str(refused.value))})
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.valid) == 8


def test_another_separator_is_suggested(write):
    for sign in ";\t|":
        check_mended(write("\n".join(["file,label", *ROWS]).replace(",", sign)))


@pytest.mark.parametrize("separator", [r"\t", r"\\t", "tab", "\t"])
def test_a_tab_can_be_said_on_a_command_line(write, separator):
    data = csv(file=write("\n".join(["file,label", *ROWS]).replace(",", "\t")), separator=separator)
    assert data.classes == ("cat", "dog")


def test_separators_that_are_none_are_refused():
    for separator in (", ", '"', "\n", "tba"):
        with pytest.raises(UserError, match=r"data\.separator must be one character, or comma, semicolon, tab"):
            csv(file="x.csv", separator=separator)


def test_a_table_without_header_is_read_by_columns(write):
    check_mended(write("\n".join(ROWS)))
    check_mended(write("\n".join(f"{number};x y;{row}" for number, row in enumerate(ROWS)).replace(",", ";")))
    check_mended(write("\n".join(row.replace(".png", "") for row in ROWS)), suffix=".png")
    with pytest.raises(UserError, match=r"row 1 of .* holds the names of data\.columns itself"):
        csv(file=write("\n".join(["file,label", *ROWS])), columns=["file", "label"])


def test_columns_of_other_names_are_suggested(write):
    check_mended(write("\n".join(["Image,Breed", *ROWS])))
    check_mended(write("\n".join([",Filename,class", *(f"{n},{row}" for n, row in enumerate(ROWS))])))
    check_mended(write("\n".join(["name of it;Label", *ROWS]).replace(",", ";")))
    with pytest.raises(UserError, match=r"no column 'lable'; did you mean 'label'.*write data\.label_column=label$"):
        csv(file=write("\n".join(["file,label", *ROWS])), label_column="lable")


def test_a_one_hot_table_without_labels_is_told(write):
    lines = ["image,cat,dog", *(f"{number}.png,{number % 2},{1 - number % 2}" for number in range(8))]
    with pytest.raises(UserError, match=r"no column 'label'; its columns cat, dog hold 0 and 1 \(one-hot\).*idxmax"):
        csv(file=write("\n".join(lines)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_another_encoding_is_suggested(write, encoding):
    check_mended(write("\r\n".join(["file,label", *("größe" + row for row in ROWS)]), encoding=encoding))


def test_an_encoding_that_spoils_utf_8_is_refused(write):
    file = write("\n".join(["file,label", *("größe" + row for row in ROWS)]))
    with pytest.raises(UserError, match=r"is UTF-8, not cp1252: leave data\.encoding out"):
        csv(file=file, encoding="cp1252")
    with pytest.raises(UserError, match=r"data\.encoding=utf-88 is no encoding"):
        csv(file=file, encoding="utf-88")


OTHER_FILES = {
    "labels.xlsx": (b"PK\x03\x04\x14\0\x06\0", "Excel workbook.*save the sheet as CSV"),
    "labels.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel workbook"),
    "labels.parquet": (b"PAR1\x15\x04", "Parquet file; write it as CSV"),
    "labels.json": (b'[\n  {"file": "0.png"}]', "JSON; write it as CSV"),
    "labels.jsonl": (b'{"file": "0.png"}\n', "JSON; write it as CSV"),
    "labels.csv.gz": (b"\x1f\x8b\x08\0", "compressed; unpack it"),
    "x.png": (b"\x89PNG\r\n\x1a\n", "an image; data.file is the table"),
    "noise.csv": (b"ab\0\0\0\0\x07c" * 9, "is no text"),
    "empty.csv": (b"", "is empty"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_files_that_are_no_tables_are_named(write, name):
    content, message = OTHER_FILES[name]
    with pytest.raises(UserError, match=f"(?s)data.file: .*{re.escape(name)}.*{message}"):
        csv(file=write(content, name))


def test_a_table_that_is_elsewhere_is_suggested(write, tmp_path, monkeypatch):
    write("\n".join(["file,label", *ROWS]))
    monkeypatch.chdir(tmp_path.parent)
    check_mended("labels.csv", root=str(tmp_path))
    with pytest.raises(UserError, match=r"is a folder, no table; .*data=folders data\.root="):
        csv(file=str(tmp_path))
    with pytest.raises(UserError, match=r"does not exist .*did you mean 'labels\.csv'"):
        csv(file=str(tmp_path / "lables.csv"))


def test_cells_with_separators_and_spaces(write, save):
    save("a, b.png")
    data = csv(file=write('file, label\n"a, b.png", "big ""cat"""\n0.png, NA\n1.png, "big ""cat"""\n2.png,NA\n'))
    assert data.classes == ("NA", 'big "cat"')


def test_an_open_quote_swallows_no_rows(write):
    lines = ["file,label,text", *(f"{row},so" for row in ROWS)]
    lines[3] = '2.png,"dog,so'
    lines[6] = '5.png,cat","so'
    with pytest.raises(UserError, match="double quote"):
        csv(file=write("\n".join(lines)))
    with pytest.raises(UserError, match=r"line 9 .*double quote"):
        csv(file=write("\n".join(lines[:6]) + "\n" + "\n".join(["file", "x", '"5.png,cat,so'])))
    text = 'file,label,text\n0.png,cat,"two\nlines"\n1.png,cat,"x"\n'
    assert len(csv(file=write(text)).train) == 1


def test_an_index_column_without_a_name(write):
    lines = ["file,label", *(f"{number},{row}" for number, row in enumerate(ROWS))]
    with pytest.raises(UserError, match=r"8 rows .*its first column is an index without a name, give it one"):
        csv(file=write("\n".join(lines)))
    assert len(csv(file=write("\n".join(["," + lines[0], *lines[1:]]))).train) == 6


def test_a_column_twice_that_nobody_asks_for_is_no_mistake(write):
    lines = ["file,label,x,x", *(f"{row},1,2" for row in ROWS)]
    assert len(csv(file=write("\n".join(lines))).train) == 6
