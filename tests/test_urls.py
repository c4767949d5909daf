from pathlib import Path
from urllib.request import url2pathname

import pytest
from sqlalchemy.engine import make_url

from expkit.urls import absolute, file_url, hide, relative, sqlite_path, sqlite_url

NAMES = [
    "plain-1.0_x",
    "who? a",
    "feat%2Flr",
    "a#b",
    "ünï",
    "100%",
    "a&b;c",
    "x:y",
    "a+b",
    'it\'s "q"',
    "me:pw@host",
    "back\\slash",
    "a=b, [c] {d} ~e $F",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_the_same_after_a_way_through_a_url(name):
    path = Path("/data", name, "study.db")
    url = sqlite_url(path)
    assert sqlite_path(url) == path
    assert make_url(url).database == str(path)
    assert not set(url) & set(" \"'&;$"), "a shell reads it as one word"
    assert url2pathname(file_url(path).removeprefix("file://")) == str(path)


def test_a_plain_path_is_written_as_people_write_it():
    assert sqlite_url(Path("/data/study.db")) == "sqlite:////data/study.db"


def test_urls_are_made_absolute_and_shown_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "who? a").mkdir()
    monkeypatch.chdir(tmp_path / "who? a")
    assert sqlite_path(absolute("sqlite:///outputs/mlflow.db")) == tmp_path / "who? a" / "outputs" / "mlflow.db"
    assert relative(absolute("sqlite:///outputs/mlflow.db?timeout=9")) == "sqlite:///outputs/mlflow.db?timeout=9"
    for other in ("http://localhost:5000", "postgresql://me@host/runs"):
        assert relative(absolute(other)) == other


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pa:s/s@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("see https://me:p%40ss@host/x or http://b:c@d", "see https://me:***@host/x or http://b:***@d"),
        ("mysql+pymysql://host/db?user=me&password=p&x=1", "mysql+pymysql://host/db?user=me&password=***&x=1"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("https://me@host/db", "https://***@host/db"),
        ("see https://ghp_0a1B2c3D4e5F@host/db.", "see https://***@host/db."),
        ("git+https://ghp_0a1B2c3D4e5F:x-oauth-basic@host", "git+https://***:***@host"),
        ("https://0a1b2c3d4e5f60718293:@host", "https://***:***@host"),
        ("postgresql://dapi0a1b2c3d4e5f@host/db", "postgresql://***@host/db"),
        ("postgresql+psycopg://0a1b2c3d4e5f60718293@host/db", "postgresql+psycopg://***@host/db"),
        ("postgresql://the-group-of-pictures@host/db", "postgresql://the-group-of-pictures@host/db"),
        ("postgresql://skilled_person@host/db", "postgresql://skilled_person@host/db"),
        ("https://${oc.env:TOKEN}@host", "https://${oc.env:TOKEN}@host"),
        ("https://${oc.env:ME}:${oc.env:PW}@host", "https://${oc.env:ME}:${oc.env:PW}@host"),
        ("https://${oc.env:ME}:hunter2@host", "https://${oc.env:ME}:***@host"),
        ("ssh://git@host/a", "ssh://git@host/a"),
        ("http://a-very-long-name-of-a-host-01:5000", "http://a-very-long-name-of-a-host-01:5000"),
        ("https://host/a@b and https://host?c@d", "https://host/a@b and https://host?c@d"),
        ("http://me:it's@host", "http://me:***@host"),
        ("uri: 'http://me:it''s@host'", "uri: 'http://me:***@host'"),
        ('{"uri": "http://host:80","mail":"a@b"}', '{"uri": "http://host:80","mail":"a@b"}'),
        ("http://host/?api_key=p", "http://host/?api_key=***"),
        ("http://localhost:5000/#/experiments/1", "http://localhost:5000/#/experiments/1"),
        ("sqlite:////a/b:c/d.db", "sqlite:////a/b:c/d.db"),
    ],
)
def test_passwords_of_urls_are_hidden_and_nothing_else(url, shown):
    assert hide(url) == shown
