from pathlib import Path

import pytest
from mlflow import MlflowClient

from expkit.tracking.senders import close_senders
from expkit.tracking.store import open_store


@pytest.fixture(scope="session")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sqlite store with its tables, which all tests share: each has an experiment of its own."""
    address = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    open_store(address)
    return address


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return MlflowClient(uri)


@pytest.fixture(scope="session", autouse=True)
def no_sender_is_left() -> None:
    yield
    close_senders()


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return tmp_path / "sweep_lr"
