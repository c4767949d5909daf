"""Where a run's store is: one rule for runs and ids, and addresses that cannot work refused before anything runs."""

import difflib
import importlib.util
import logging
import os
import re
import socket
import sqlite3
import threading
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from expkit.command import pasted
from expkit.errors import UserError
from expkit.project import found_url, was_moved
from expkit.run_folder import RunFolder
from expkit.tracking.nested import parent_of
from expkit.urls import absolute, hide, relative, sqlite_mistake, sqlite_path, sqlite_url
from expkit.whole_files import read_json

log = logging.getLogger("expkit")

DEFAULT = "sqlite:///outputs/mlflow.db"
LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers."""
VARIABLE = "MLFLOW_TRACKING_URI"
SERVERS = ("http", "https")
DATABASES = {"postgresql": ("psycopg", 5432), "mysql": ("pymysql", 3306), "mssql": ("pyodbc", 1433)}
"""The databases with a server that MLflow knows: the module that expkit suggests, and the port."""
KNOWN = (*SERVERS, "sqlite", *DATABASES, "databricks", "databricks-uc")
FORMS = f"{DEFAULT}, http://localhost:5000 or postgresql+psycopg://user@host/name"


def store_of(uri: str | None) -> str:
    """The address of the store: `uri`, else the variable MLFLOW_TRACKING_URI, else sqlite under outputs/.

    Raises UserError for an address that cannot work.
    """
    told = os.environ.get(VARIABLE)
    return absolute(check_address(told, VARIABLE) if uri is None and told else check_address(uri or DEFAULT))


def store_of_run(folder: RunFolder, uri: str | None) -> str:
    """The address of a run's store: `uri`, else the one that the run was tracked in before, else as `store_of` says.

    So it does, in a warning, for a run that was moved where its store did not come along: nothing is made beside it.
    Raises UserError where that one had a password, which its folder does not keep, and the variable names another.
    """
    facts, path = read_json(folder.facts), folder.path
    if "store" not in facts and (parent := parent_of(path)):
        facts, path = read_json(parent / "run.json"), parent
    before = facts.get("store")
    if uri or before is None:
        return store_of(uri)
    if "***" not in before:
        url = found_url(before, path)
        store = sqlite_path(url)
        if store is None or store.exists() or not was_moved(path, facts):
            return url
        anew = store_of(None)
        log.warning("%s was moved away from its store: from now on it is tracked in %s", path, hide(relative(anew)))
        return anew
    if hide(os.environ.get(VARIABLE, "")) != before:
        raise UserError(f"{folder.path} is tracked in {before}, as {VARIABLE} said with the password: set it again")
    return store_of(None)


def check_address(uri: str, key: str = "tracking.uri") -> str:
    """Raise UserError, with what was probably meant, for what is no address of a store; `key` is what names it."""
    if problem := problem_of(uri):
        without = re.sub(r":[^:@]*@", ":***@", uri) if "://" not in uri else uri
        raise UserError(hide(f"{key}={without} {problem.replace(uri, without)}"))
    return uri


Address = Annotated[str, AfterValidator(check_address)]
"""The address of a store, as a key of a config."""


def problem_of(uri: str) -> str | None:
    """What is wrong with an address, and what to write; None where it can work."""
    if not uri.strip():
        return f"is empty: leave it out, or write one such as {FORMS}"
    if uri != uri.strip():
        return f"has white space around it: write {uri.strip()}"
    scheme, colon, rest = uri.partition("://")
    if uri in ("databricks", "databricks-uc"):
        return None
    kind = scheme.partition("+")[0]
    if not colon:
        return no_scheme(uri)
    if kind == "file":
        return file_store(uri)
    if kind not in KNOWN:
        close = difflib.get_close_matches(kind.lower().rstrip("3"), KNOWN, n=1, cutoff=0.6)
        if close:
            return f"begins with {kind}://, which is no store of MLflow: did you mean {close[0]}://{rest}?"
        return f"begins with {kind}://, which is no store of MLflow: write one such as {FORMS}"
    if kind == "sqlite":
        return sqlite_problem(uri)
    return server_problem(uri, kind)


def no_scheme(uri: str) -> str:
    """What to write for an address without `://`."""
    if uri.lower() in ("none", "null"):
        return "is no URL: did you mean tracking=none?"
    if found := re.match(r"(https?)(?::/?|//)(?!\d)(.+)", uri):
        return f"is no URL: did you mean {found[1]}://{found[2].lstrip('/')}?"
    if found := re.match(r"sqlite\d?:/*(.+)", uri):
        absolute_too = "/" if uri.startswith("sqlite:/") else ""
        return f"is no URL: did you mean sqlite:///{absolute_too}{found[1]}?"
    if re.fullmatch(r"(localhost|[\w-]+(\.[\w-]+)+)(:\d+)?(/.*)?|[\w.-]+:\d+(/.*)?", uri) and not is_file_name(uri):
        return f"is no URL: did you mean http://{uri}?"
    if uri.startswith("file:") or Path(uri).name == "mlruns" or Path(uri).is_dir():
        return file_store(uri)
    if found := re.match(r"([a-z][\w-]+):/", uri):
        return f"begins with {found[1]}:, which is no store of MLflow: write one such as {FORMS}"
    if is_file_name(uri) or "/" in uri:
        return f"is a path, not a URL: did you mean {sqlite_url(Path(os.path.expanduser(uri)))}?"
    return f"is no URL: write one such as {FORMS}"


def is_file_name(uri: str) -> bool:
    """Whether a text looks like a path of a sqlite file."""
    return bool(re.search(r"\.(db|sqlite3?|db3)$", uri)) or uri.startswith((".", "/", "~"))


def file_store(uri: str) -> str:
    """What to write for a folder, as MLflow had it until version 3."""
    return f"is a folder of files, which MLflow no longer writes to: write {DEFAULT}, or another sqlite:///FILE.db"


def sqlite_problem(uri: str) -> str | None:
    """What is wrong with a sqlite address."""
    if mistake := sqlite_mistake(uri):
        return mistake
    path = sqlite_path(uri)
    assert path is not None
    if path.is_dir() or uri.endswith("/"):
        return f"is a folder: name a file in it, such as {sqlite_url(path / 'mlflow.db')}"
    if file := next((parent for parent in path.parents if parent.is_file()), None):
        return f"cannot be made, since {file} is a file and no folder: name another place"
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not os.access(there, os.W_OK):
        return f"cannot be used, since {there} cannot be written to: name another place"
    return foreign(path)


def foreign(path: Path) -> str | None:
    """What a file holds in place of MLflow's tables, None where it is a store or may become one."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        with open(path, "rb") as file:
            if file.read(16) != b"SQLite format 3\0":
                return "is no sqlite database (file is not a database): name another file"
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (OSError, sqlite3.Error):
        return None  # the sender says what keeps it from being read
    if tables and "experiments" not in tables:
        return f"is a database of something else (its tables: {', '.join(sorted(tables)[:3])}...): name another file"
    return None


def server_problem(uri: str, kind: str) -> str | None:
    """What is wrong with the address of a server."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:  # its message may have a part of a password
        return f"has no number for a port (in a password, / is written %2F and @ %40): write one such as {FORMS}"
    if not can_be_host(parts.hostname or "host"):
        return f"names no host that can be ({parts.hostname}): write one such as {FORMS}"
    if kind in SERVERS:
        if not parts.hostname:
            return f"names no host: write one such as {FORMS}"
        if parts.fragment or parts.query:
            return f"is the address of a page: write {uri.partition('#')[0].partition('?')[0].rstrip('/')}"
    if kind in DATABASES:
        module = uri.partition("://")[0].partition("+")[2] or DATABASES[kind][0]
        # Of a dotted name, find_spec would import the package.
        if "." in module or importlib.util.find_spec(module) is None:
            better, rest = DATABASES[kind][0], uri.partition("://")[2]
            return f"needs the Python module {module}: pip install {better}, and write {kind}+{better}://{rest}"
    return None


def can_be_host(name: str) -> bool:
    """Whether a network may know a machine by this name."""
    try:
        return bool(name.encode("idna")) and not re.search(r"\s", name)
    except UnicodeError:
        return False


def silence_of(uri: str, seconds: float = 2.0) -> str | None:
    """Why nobody answers at the address of a server, after at most `seconds`; None where somebody does, or for a file.

    Whoever answers may still be no store.
    """
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0]
    if not parts.hostname or (kind in SERVERS and kind in urllib.request.getproxies()):
        return None
    ports = {"http": 80, "https": 443} | {name: port for name, (_, port) in DATABASES.items()}
    if kind not in ports:
        return None
    reason = [f"no connection to {parts.hostname} within {seconds:g} s"]

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname, parts.port or ports[kind]), timeout=seconds).close()
            reason[0] = ""
        except OSError as error:
            reason[0] = f"{parts.hostname}: {error.strerror or error}"

    # In a thread, since to look up a name has no time limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return reason[0] or None


def named(uri: str) -> str:
    """A store in a message: the key or variable that names it, and its address, without its password."""
    told = os.environ.get(VARIABLE)
    key = VARIABLE if told and absolute(told) == uri else "tracking.uri"
    return f"{key}={hide(relative(uri))}"


def hint_of(uri: str, experiment: str | None = None) -> str:
    """The command that opens the MLflow UI of a store, and where it shows an experiment's runs; of a server the latter.

    The page of the experiment itself may open on what MLflow has for language models.
    """
    if uri.startswith("http"):
        return f"{hide(uri).rstrip('/')}/{runs_page(experiment)}" if experiment else hide(uri)
    if hide(uri) == uri:
        then = f"\n           then {LOCAL}/{runs_page(experiment)}" if experiment else ""
        return pasted("mlflow", "ui", "--backend-store-uri", relative(uri)) + then
    return f"{pasted('mlflow', 'ui', '--backend-store-uri', hide(uri))}  # with the password in place of ***"


def runs_page(experiment: str) -> str:
    """Where MLflow's UI shows the list of an experiment's runs, behind its address."""
    return f"#/experiments/{experiment}/runs"
