import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from expkit.threads import Threads, aside

READING = """
import atexit, signal, sys
from contextlib import closing
from expkit.threads import Threads, leave

def stop(number, frame):
    sys.exit(128 + number)

signal.signal(signal.SIGTERM, stop)
atexit.register(print, "cleaned up")
try:
    with closing(Threads(2)) as threads:
        print("here", flush=True)
        threads.map(lambda path: open(path).read(), sys.argv[1:] * 3)
except SystemExit as end:
    leave(end.code)
    raise
"""


def test_a_process_ends_though_a_thread_reads_what_never_comes(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    command = [sys.executable, "-c", READING, tmp_path / "fifo"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "here\n"
    time.sleep(0.2)  # the threads have their calls in hand
    process.terminate()
    assert process.communicate(timeout=60) == ("cleaned up\n", "")
    assert process.returncode == 128 + signal.SIGTERM


def test_calls_are_made_side_by_side_and_given_in_their_order():
    meet = threading.Barrier(3)

    def met(number):
        meet.wait(60)
        return number, threading.get_ident()

    begun = []
    with closing(Threads(3, begin=lambda: begun.append(threading.get_ident()))) as threads:
        numbers, idents = zip(*threads.map(met, range(9)), strict=True)
    assert numbers == tuple(range(9))
    assert set(idents) == set(begun)
    assert len(begun) == 3
    assert not {thread.ident for thread in threading.enumerate()} & set(begun)


def test_what_a_call_raises_is_raised_where_it_is_asked_for():
    with closing(Threads(1)) as threads:
        with pytest.raises(ZeroDivisionError):
            threads.map(lambda number: 1 / number, [1, 0])
        assert threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(KeyError):
        aside({}.__getitem__, "key")


def test_calls_that_have_not_begun_are_dropped_at_the_close():
    go = threading.Event()
    threads = Threads(1)
    first, second = threads.submit(go.wait, 60), threads.submit(go.wait, 60)
    while not first.running():
        time.sleep(0.001)
    threading.Timer(0.1, go.set).start()
    threads.close()
    assert first.result()
    assert second.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(go.wait)
