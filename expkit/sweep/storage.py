"""The database of a study, and the lock under which its trials are handed out."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from expkit.causes import Cause, cause_of, chain_of, is_database
from expkit.errors import Unavailable, UserError
from expkit.randomness import seed_of
from expkit.sweep.patience import Patience, PatientStorage, reason_of
from expkit.sweep.space.grammar import first_line

LOCKED = 60
"""Seconds that a write waits for those of others before it fails."""
GRACE = 6
"""Heartbeats that may be missed before a trial counts as lost."""
POLL = 0.02
"""Seconds between attempts at the lock."""
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql"}


class Store:
    """An open database with Optuna's tables, and its lock."""

    def __init__(self, url: str, heartbeat: int) -> None:
        self.url = make_url(url)
        self.patience = Patience(f"hydra.sweeper.storage={shown(self.url)}")
        self.lock = lock_of(self.url, self.patience)
        with self.lock.held():  # tables are made by one process at a time
            self.storage = open_storage(self.url, heartbeat, self.patience)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Let an answer that the database does not give leave the block as Unavailable, with what to do."""
        try:
            yield
        except Exception as error:
            if cause_of(error) not in (Cause.DATABASE, Cause.DISK) or not any(map(is_database, chain_of(error))):
                raise
            raise Unavailable(
                f"hydra.sweeper.storage={shown(self.url)} failed ({reason_of(error)}); what the study has is kept: "
                "run the same command again to go on"
            ) from error


def open_storage(url: URL, heartbeat: int, patience: Patience) -> RDBStorage:
    """Optuna's storage in a database that several processes may use. Raises UserError where that is out of reach."""
    sqlite = url.get_backend_name() == "sqlite"
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep tells itself what happens
    try:
        with warnings.catch_warnings():  # heartbeats call themselves experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            make = RDBStorage if sqlite else partial(PatientStorage, patience)
            storage: RDBStorage = make(
                url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": {"timeout": LOCKED}} if sqlite else {"pool_pre_ping": True},
                heartbeat_interval=heartbeat,
                grace_period=GRACE * heartbeat,
            )
    except RuntimeError as error:  # how Optuna refuses the tables of another version
        raise UserError(f"hydra.sweeper.storage={shown(url)}: {error}") from None
    except DBAPIError as error:
        reason = first_line(error.orig or error)
        told = f"hydra.sweeper.storage={shown(url)} cannot be used ({reason}); name another database"
        raise UserError(told) from None
    if sqlite:
        event.listen(storage.engine, "connect", share_sqlite)
        storage.engine.dispose()  # connections made before
    return storage


def share_sqlite(connection: Any, record: object) -> None:
    """Let a sqlite connection write beside others: readers and a writer do not wait for each other."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def shown(url: URL) -> str:
    """A URL without its password."""
    return url.render_as_string(hide_password=True)


class StudyLock:
    """A lock on a database that all workers of a study respect; it goes with the process, however that ends."""

    def __init__(self, take: Callable[[], Callable[[], object] | None]) -> None:
        self.take = take
        """Try to take the lock; gives how to let it go again, None where another process holds it."""
        self.let_go: Callable[[], object] | None = None

    def acquire(self, stopped: Callable[[], object] = lambda: None) -> bool:
        """Wait for the lock; False where `stopped` says so before."""
        while self.let_go is None:
            if stopped():
                return False
            self.let_go = self.take()
            if self.let_go is None:
                time.sleep(POLL)
        return True

    def release(self) -> None:
        """Let the lock go, if it is held."""
        if self.let_go is not None:
            let_go, self.let_go = self.let_go, None
            let_go()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock."""
        self.acquire()
        try:
            yield
        finally:
            self.release()


def lock_of(url: URL, patience: Patience) -> StudyLock:
    """The lock of a database: a file beside a sqlite file, an advisory lock in a server's."""
    if url.get_backend_name() == "sqlite":
        assert url.database is not None
        path = Path(url.database)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}"
            raise UserError(f"hydra.sweeper.storage={shown(url)}: its folder cannot be made ({reason})") from None
        if path.is_dir():
            raise UserError(f"hydra.sweeper.storage={shown(url)} is a folder; name a file in it")
        return StudyLock(lambda: take_file(path.with_name(f"{path.name}.lock")))
    engine = connect(url)
    return StudyLock(lambda: patience.ask(lambda: take_advisory(engine, url)))


def take_file(path: Path) -> Callable[[], object] | None:
    """Try to lock a file."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock.release


def connect(url: URL) -> sqlalchemy.Engine:
    """A server's database, reached once. Raises UserError where its module is missing or it does not answer."""
    kind = url.get_backend_name()
    try:
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        engine.connect().close()
    except (ModuleNotFoundError, NoSuchModuleError, ArgumentError) as error:
        driver = DRIVERS[kind]
        raise UserError(
            f"hydra.sweeper.storage={shown(url)} needs a Python module that is not here ({error}): "
            f"pip install {driver}, and write {kind}+{driver}://..."
        ) from None
    except DBAPIError as error:
        reason = first_line(error.orig or error)
        raise UserError(f"hydra.sweeper.storage={shown(url)} is out of reach: {reason}") from None
    return engine


def take_advisory(engine: sqlalchemy.Engine, url: URL) -> Callable[[], object] | None:
    """Try to lock a name in a server's database; the server lets it go with the connection."""
    connection: Connection = engine.connect()
    if url.get_backend_name() == "postgresql":
        query, name = "SELECT pg_try_advisory_lock(:name)", seed_of("expkit.sweep")
        taken = connection.execute(sqlalchemy.text(query), {"name": name}).scalar()
    else:
        # The name holds for the whole server, not for one database; MySQL refuses one of more than 64 characters.
        query, label = "SELECT GET_LOCK(:name, 0)", f"expkit.sweep.{seed_of(str(url.database))}"
        taken = connection.execute(sqlalchemy.text(query), {"name": label}).scalar()
    if not taken:
        connection.close()
        return None
    return connection.close
