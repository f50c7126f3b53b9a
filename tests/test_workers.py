"""Work spread over processes: all of it is done once, whoever dies; one that is timed has the machine to itself."""

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a fork that is safe")


def test_every_number_is_worked_on_once(tmp_path):
    def work(i, quiet):
        (tmp_path / str(i)).touch(exist_ok=False)

    counts = []
    assert workers.run(work, 20, 3, counts.append) == []
    assert sum(counts) == 20
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(20))


def test_a_worker_that_dies_is_replaced_and_its_number_told(tmp_path):
    """Also one that dies while the others stand still for it."""

    def work(i, quiet):
        if i == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        with quiet:
            if i == 4:
                os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / str(i)).touch()

    assert workers.run(work, 12, 2, lambda _: None) == [1, 4]
    assert len(list(tmp_path.iterdir())) == 10


def test_the_others_stand_still_while_one_is_timed(tmp_path):
    """Each of two workers counts for a while, and within a quiet stretch sees the other's count stand still."""

    def work(i, quiet):
        mine, other = tmp_path / f"{i}", tmp_path / f"{1 - i}"
        for count in range(300):
            mine.write_text(f"{count}")
            if count == 100:
                with quiet:
                    time.sleep(0.05)
                    before = other.read_bytes() if other.exists() else b""
                    time.sleep(0.2)
                    after = other.read_bytes() if other.exists() else b""
                    (tmp_path / f"{i}.still").write_text(str(before == after))
            time.sleep(0.001)

    assert workers.run(work, 2, 2, lambda _: None) == []
    assert [(tmp_path / f"{i}.still").read_text() for i in (0, 1)] == ["True", "True"]
    assert [(tmp_path / f"{i}").read_text() for i in (0, 1)] == ["299", "299"]


def test_an_interruption_ends_the_workers(tmp_path):
    def work(i, quiet):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    def interrupt(_):
        if len(list(tmp_path.iterdir())) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.run(work, 2, 2, interrupt)
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


THREADED = """
import torch
from benchmarks import workers

def work(i, quiet):
    torch.ones(10**6).exp().sum()

torch.set_num_threads(2)
work(0, None)
print(workers.run(work, 4, 2, lambda _: None))
"""


def test_threads_of_the_parent_are_not_waited_for():
    """torch's threads are not there after a fork: a worker that used them would wait for ever."""
    made = subprocess.run([sys.executable, "-c", THREADED], capture_output=True, text=True, timeout=60)
    assert (made.returncode, made.stdout, made.stderr) == (0, "[]\n", "")
