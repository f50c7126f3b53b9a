"""Work spread over forked processes; one that takes times has the machine to itself."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import torch

WAITING, RUNNING, DONE = range(3)
PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.1


def available() -> int:
    """How many processes can work at once here: the processors that this one may use; 1 where fork is not safe."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


class Quiet:
    """A context in which the other workers stand still: they are stopped and, in the end, go on."""

    def __init__(self, workers: int) -> None:
        fork = multiprocessing.get_context("fork")
        self.lock = fork.Lock()
        self.pids = fork.Array("i", workers, lock=False)
        self.owner = fork.Value("i", 0, lock=False)

    def __enter__(self) -> None:
        self.lock.acquire()
        self.owner.value = os.getpid()
        self._send(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self._send(signal.SIGCONT)
        self.owner.value = 0
        self.lock.release()

    def join(self, place: int) -> None:
        """Let this process be one that stands still for others; not while another is in this context."""
        with self.lock:
            self.pids[place] = os.getpid()

    def forget(self, place: int) -> None:
        """Let the others go on without a worker that has ended, in this context or not."""
        pid, self.pids[place] = self.pids[place], 0
        if self.owner.value == pid:
            self.__exit__()

    def _send(self, number: signal.Signals) -> None:
        for pid in self.pids:
            if pid not in (0, os.getpid(), self.owner.value):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


class Queue:
    """Numbers 0, ..., count - 1 that processes take one by one, and how far each is."""

    def __init__(self, count: int) -> None:
        fork = multiprocessing.get_context("fork")
        self.count = count
        self.following = fork.Value("i", 0)
        self.states = fork.Array("b", count, lock=False)

    def __iter__(self) -> Iterator[int]:
        """The numbers that are for this process; one is done when the next is asked for."""
        while True:
            with self.following.get_lock():
                i = self.following.value
                if i >= self.count:
                    return
                self.following.value += 1
                self.states[i] = RUNNING
            yield i
            self.states[i] = DONE

    def any_left(self) -> bool:
        return self.following.value < self.count

    def those(self, state: int) -> list[int]:
        return [i for i, own in enumerate(self.states) if own == state]


def run(work: Callable[[int, Quiet], None], count: int, workers: int, finished: Callable[[int], object]) -> list[int]:
    """Call work(i, quiet) for i = 0, ..., count - 1, each in one of so many forked processes.

    finished: called here with how many more are done, now and then. When this process is interrupted or ends, so do
    the workers. One that dies, of too little memory say, is replaced.

    Returns the numbers whose worker died.
    """
    quiet, queue, parent = Quiet(workers), Queue(count), os.getpid()

    def loop(place: int) -> None:
        _belong_to(parent)
        quiet.join(place)
        for i in queue:
            work(i, quiet)

    def start(place: int) -> None:
        processes[place] = multiprocessing.get_context("fork").Process(target=loop, args=(place,), daemon=True)
        processes[place].start()

    processes: dict[int, BaseProcess] = {}
    done = 0
    try:
        for place in range(workers):
            start(place)
        while processes:
            wait([process.sentinel for process in processes.values()], timeout=POLL_SECONDS)
            for place in [place for place, process in processes.items() if not process.is_alive()]:
                ended = processes.pop(place)
                quiet.forget(place)
                if ended.exitcode and queue.any_left():
                    start(place)
            before, done = done, len(queue.those(DONE))
            finished(done - before)
        return queue.those(RUNNING)
    finally:
        begun = [process for process in processes.values() if process.pid]
        for process in begun:
            process.kill()
        for process in begun:
            process.join()


def _belong_to(parent: int) -> None:
    """Leave interruptions to the parent, and end when it ends, however that is.

    One thread: those of the parent's operations are not there after a fork, and what waits for them waits for ever.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
