import os
import signal
import threading
import time

import numpy as np
import pytest

from expkit import interrupt
from expkit.data.images.pace import looked_at, threads_for, waits


@pytest.mark.parametrize("cores", [2, 8, 64])
def test_tiny_files_at_hand_are_looked_at_by_one_thread(cores):
    assert threads_for(50e-6, 50e-6, cores) == 1


@pytest.mark.parametrize(("cores", "least", "most"), [(2, 2, 4), (8, 8, 16), (64, 10, 64)])
def test_photos_keep_the_cores_busy(cores, least, most):
    assert least <= threads_for(4e-3, 4e-3, cores) <= most


def test_files_that_are_far_away_are_waited_for_by_many():
    assert threads_for(20e-3, 0.5e-3, 2) == 64
    assert 10 <= threads_for(2e-3, 0.1e-3, 2) <= 64
    assert threads_for(1.0, 0.0, 1) == 64


def ids(todo, wait):
    """The threads that look at files, each of which takes a wait."""
    threads = set()

    def look(indices):
        threads.add(threading.get_ident())
        for _ in indices:
            wait()
        return indices

    seen = [index for indices in looked_at(todo, look) for index in indices.tolist()]
    assert sorted(seen) == todo.tolist(), "each once"
    return threads


def test_slow_files_are_looked_at_side_by_side_and_quick_ones_in_turn():
    assert len(ids(np.arange(5, 600), lambda: time.sleep(0.002))) > 10
    assert len(ids(np.arange(20000), lambda: None)) <= 4  # one for the few that show it, and one a round


def test_waiting_for_a_core_is_no_waiting_for_the_disk():
    before = waits()
    sum(range(3_000_000))
    busy = waits() - before
    for _ in range(20):
        time.sleep(0.001)
    assert waits() - before - busy >= 20 > 4 * busy


def test_few_files_are_looked_at_as_well():
    for count in (0, 1, 2, 17, 18, 40):
        ids(np.arange(count), lambda: None)


def test_what_goes_wrong_in_a_thread_is_raised():
    def look(indices):
        time.sleep(0.01)
        if 300 in indices:
            raise KeyError(300)
        return indices

    with pytest.raises(KeyError):
        list(looked_at(np.arange(400), look))


@pytest.mark.parametrize("place", [0, 1, 300])
def test_a_signal_does_not_wait_for_the_file_in_hand(monkeypatch, place):
    monkeypatch.setattr("expkit.threads.PATIENCE", 0.01)
    never, begun = threading.Event(), threading.Event()

    def look(indices):
        if place in indices:
            begun.set()
            never.wait(60)
        return indices

    def send():
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send).start()
    with interrupt.listen() as stop, pytest.raises(interrupt.Stopped), stop.heeded():
        list(looked_at(np.arange(400), look))
    assert not never.is_set()
    never.set()
