"""What MLflow's own UI shows of a study, in a real browser: Debian's packages chromium and chromium-driver."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from expkit.whole_files import read_json
from tests.conftest import SMALL_MODEL
from tests.forked import expkit, wait_until

PATIENT = 120
"""Seconds that a page may take on a machine with much else to do."""
SWEEP = (
    *("-m", "+experiment=digits", "data.classes=[0,1,2]", "image_size=16", "epochs=2", "transfer=frozen_precompute"),
    *("optim.lr=tag(log, interval(1e-4, 1e-2))", "hydra/sweeper=expkit", "hydra.sweeper.n_trials=2"),
    *("hydra.sweeper.study_name=rates", *SMALL_MODEL),
)


class Page:
    """A browser, and what to wait for in it."""

    def __init__(self, driver: Any, root: str) -> None:
        self.driver = driver
        self.root = root

    def open(self, route: str) -> None:
        self.driver.get("about:blank")  # another route of one page is no other page
        self.driver.get(f"{self.root}/#/{route}")

    def sees(self, *texts: str) -> None:
        """Wait until all of these are there to be read."""
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.wait import WebDriverWait

        def lacking() -> list[str]:
            shown = self.driver.execute_script("return document.body ? document.body.innerText : ''")
            return [text for text in texts if text not in shown]

        try:
            WebDriverWait(self.driver, PATIENT, 0.1).until(lambda driver: not lacking())
        except TimeoutException:
            raise AssertionError(f"{self.driver.current_url} does not show {lacking()}") from None

    def curves(self, count: int) -> None:
        """Wait until so many charts with a line are drawn."""
        from selenium.webdriver.support.wait import WebDriverWait

        script = "return document.querySelectorAll('.scatterlayer path.js-line').length"
        WebDriverWait(self.driver, PATIENT, 0.1).until(lambda driver: driver.execute_script(script) >= count)


@pytest.fixture(scope="module")
def browser() -> tuple[str, str]:
    """Where Chromium and its driver lie."""
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed; it comes with expkit[dev]")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    return chromium, driver


@pytest.fixture(scope="module")
def study(browser: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of two trials."""
    cwd = tmp_path_factory.mktemp("project")
    environment = {**os.environ, "EXPKIT_CACHE": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}
    status, _, err = expkit(*SWEEP, cwd=cwd, environment=environment)
    assert status == 0, err
    return cwd / "outputs" / "digits" / "sweep_rates"


@pytest.fixture(scope="module")
def page(browser: tuple[str, str], study: Path) -> Iterator[Page]:
    """A browser on the UI of the study's store."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", 1]
    store = f"sqlite:///{study.parents[1]}/mlflow.db"
    server = subprocess.Popen(
        [*map(str, command), "--backend-store-uri", store],
        cwd=study,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    options = ChromeOptions()  # of a window so high that no chart lies below it: those are not drawn
    options.binary_location, driver = browser
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1600,3000"):
        options.add_argument(f"--{argument}")
    try:
        with Chrome(options, ChromeService(driver)) as chrome:
            wait_until(lambda: answers(port), server)
            yield Page(chrome, f"http://127.0.0.1:{port}")
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # and the process that it begins for requests
        server.wait(PATIENT)


def answers(port: int) -> bool:
    """Whether the server takes requests."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/health") as told:
            return bool(told.status == 200)
    except (URLError, OSError):
        return False


def test_the_ui_shows_runs_their_comparison_a_study_and_its_best_trial(study: Path, page: Page) -> None:
    client = MlflowClient(f"sqlite:///{study.parents[1]}/mlflow.db")
    experiment = client.get_experiment_by_name("digits").experiment_id
    ids = {name: read_json(study / name / "tracking.json")["run_id"] for name in (".", "0", "1")}
    data = {name: client.get_run(id_).data for name, id_ in ids.items()}
    best = data["."].tags["best_trial"]

    page.open(f"experiments/{experiment}/runs")
    page.sees("Run Name", "rates", "digits train")

    both = json.dumps([ids["0"], ids["1"]], separators=(",", ":"))
    page.open(f'compare-runs?runs={both}&experiments=["{experiment}"]')
    page.sees(
        "Comparing 2 Runs from 1 Experiment", "trial 0 lr=", "trial 1 lr=", "optim.lr", data["0"].params["optim.lr"]
    )

    page.open(f"experiments/{experiment}/runs/{ids['.']}")
    page.sees("rates", "The best of 2 trials", "python -m expkit -m +experiment=digits", "best_valid_accuracy")

    trial = f"experiments/{experiment}/runs/{ids[best]}"
    page.open(trial)
    page.sees(f"trial {best} lr=", "frozen_precompute", "optim.lr", data[best].params["optim.lr"], "digits train")
    page.open(f"{trial}/model-metrics")
    page.sees("batch/train_loss", "hp/lr_")
    page.curves(2)
