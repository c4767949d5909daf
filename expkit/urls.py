"""Paths in URLs, and passwords: whatever becomes a URL of a file or database, is read from one or shown, comes here.

In a URL `?` begins a query, and `%2F` is a slash, so a path that has them is another path if it is written as it is.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

PASSWORD = re.compile(
    r"(://(?:\$\{[^}]*\}|(?!\$\{)[^:/@\s])*):(?!\$\{[^}]*\}@|\d+/)(?:[^\s'\"]|['\"](?![\s,;:)}\]]|$))*@"
)
"""A quote is part of a password unless it ends a text."""
USER = re.compile(r"(\w[\w+.-]*)://((?!\$\{)[^:/@?#\s'\"]+)(?=(:(?:\*\*\*|\$\{[^}]*\})?)?@)")
"""A user's name in a URL, and whether a password follows, which is hidden by then."""
TOKEN = re.compile(
    r"((gh[a-z]|github_pat|hf)_|(glpat|sk|pk|xox[a-z])-|dapi(?=\w*\d))[\w-]{8,}|(?=\D*\d)(?=.*[A-Za-z])[\w.~%+-]{20,}"
)
"""What is no name but a token: services take one in place of a user's name, with no password or any."""
SECRET = re.compile(r"([?&][\w-]*(?:passw|pwd|token|secret|api_?key)[\w-]*=)(?!\$\{)[^&\s'\"]*", re.IGNORECASE)


def sqlite_url(path: Path) -> str:
    """The URL of a sqlite file, as SQLAlchemy (from 2.1 on), MLflow and Optuna read it."""
    quoted = quote(str(path))
    # The driver is named where something is quoted: at `sqlite:///` alone MLflow makes folders of the quoted names.
    return f"{'sqlite' if quoted == str(path) else 'sqlite+pysqlite'}:///{quoted}"


def sqlite_path(url: str) -> Path | None:
    """The file that a sqlite URL names, None for any other URL."""
    kind, slashes, rest = url.partition(":///")
    if not slashes or kind.partition("+")[0] != "sqlite":
        return None
    return Path(unquote(rest.partition("?")[0]))


def sqlite_mistake(url: str) -> str | None:
    """What in a sqlite URL is not read as it was meant, and what to write; None where nothing is."""
    kind, _, rest = url.partition("://")
    if kind not in ("sqlite", "sqlite+pysqlite"):
        return f"names the driver {kind.partition('+')[2]}, which there is none of here: write sqlite://{rest}"
    if not rest.startswith("/"):
        return f"has two slashes, but the path of a file comes after three: write sqlite:///{rest or 'FILE.db'}"
    query = url.partition("?")[2]
    if query and not re.fullmatch(r"\w+=[^/]*(&\w+=[^/]*)*", query):
        return f"has a ? in its path, which is written %3F in a URL: write {sqlite_url(Path(rest[1:]))}"
    path = str(sqlite_path(url))
    if path[0] in "~$" and (meant := os.path.expanduser(os.path.expandvars(path))) != path:
        return f"has a {path[0]} that no shell has replaced: write {sqlite_url(Path(meant))}"
    if path in (".", ":memory:"):
        return "is a database in memory, which processes cannot share: write sqlite:///FILE.db"
    return None


def absolute(url: str) -> str:
    """A sqlite URL with its path made absolute, so that every process means the same file; others unchanged."""
    path = sqlite_path(url)
    return url if path is None else sqlite_url(path.resolve()) + query_of(url)


def relative(url: str) -> str:
    """A sqlite URL as a person types it, where its file lies below the working directory; others unchanged."""
    path = sqlite_path(url)
    if path is None or not path.is_relative_to(Path.cwd()):
        return url
    return sqlite_url(path.relative_to(Path.cwd())) + query_of(url)


def query_of(url: str) -> str:
    """The query of a URL, with its question mark."""
    return "".join(url.partition("?")[1:])


def file_url(path: Path) -> str:
    """The URL of an absolute path."""
    return path.as_uri()


def hide(text: str) -> str:
    """A text in which the passwords of URLs are hidden, and users that are tokens; references stay, which tell none."""
    return SECRET.sub(r"\1***", USER.sub(hidden_user, PASSWORD.sub(r"\1:***@", text)))


def hidden_user(found: re.Match[str]) -> str:
    """A URL up to its user's name, hidden where that is a token, or stands alone before a web server."""
    alone = found[3] is None and found[1].lower() in ("http", "https")
    return f"{found[1]}://***" if alone or TOKEN.fullmatch(found[2]) else found[0]
