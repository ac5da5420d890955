"""A bounded number of workers, each a thread with a model of its own, that take from one bounded queue."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from slmbench.core import Backend
from slmbench.decode.loop import Decoder, Engine, Part
from slmbench.serving.limits import Refused

CHUNK = 256
"""Tokens that are read in one pass at most, so that a long prompt can be given up within it."""
LONGEST_WAIT = 60
"""Seconds that a client is told to wait, at most."""


class Stopped(Exception):
    """Nobody waits for the answer any more."""


class Ended:
    """What a job says last."""


Work = Callable[["Worker"], Iterator[Any]]


class Job:
    """One answer to be made.

    Args:
        work: makes it, in a worker's thread; what it yields, or the exception it ends with, is told.
        tell: is given that, in the worker's thread; `Ended` comes last.
    """

    def __init__(self, work: Work, tell: Callable[[Any], None]) -> None:
        self.work, self.tell = work, tell
        self.submitted = time.perf_counter()
        self.began: float | None = None
        self.unwanted = threading.Event()


class Watched:
    """An engine that reads nothing more once an answer is not wanted, and no more than `CHUNK` tokens in a pass."""

    def __init__(self, engine: Engine, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called before each pass, and raises Stopped."""
        self.engine, self.positions, self.slots = engine, engine.positions, engine.slots
        self.check = check

    def forward(self, parts: Sequence[Part]) -> list[Any]:
        """As the engine's. Raises Stopped."""
        last = []
        for slot, ids, at, rows in parts:
            while len(ids) > max(CHUNK, rows):
                size = min(CHUNK, len(ids) - rows)
                self._pass([Part(slot, ids[:size], at, 1)])
                ids, at = ids[size:], at + size
            last.append(Part(slot, ids, at, rows))
        return self._pass(last)

    def _pass(self, parts: Sequence[Part]) -> list[Any]:
        self.check()
        return self.engine.forward(parts)

    def keep(self, slot: int, length: int) -> Any:
        """As the engine's."""
        return self.engine.keep(slot, length)

    def restore(self, slot: int, kept: Any) -> None:
        """As the engine's."""
        self.engine.restore(slot, kept)


class Worker:
    """A model that answers one job at a time."""

    def __init__(self, backend: Decoder | Backend) -> None:
        self.backend = backend
        self.job: Job | None = None
        if isinstance(backend, Decoder):
            backend.engine = Watched(backend.engine, self.check)

    @property
    def positions(self) -> int | None:
        """Tokens of prompt and answer that the model holds; None where the backend does not say."""
        return getattr(self.backend, "positions", None)

    def check(self) -> None:
        """Raise Stopped where the answer under way is not wanted any more."""
        if self.job is not None and self.job.unwanted.is_set():
            raise Stopped

    def do(self, job: Job) -> None:
        """Make the answer of a job and tell it."""
        self.job, job.began = job, time.perf_counter()
        try:
            for said in job.work(self):
                self.check()
                job.tell(said)
        except Exception as error:
            job.tell(error)
        finally:
            self.job = None
            job.tell(Ended())


class Pool:
    """Workers and what waits for them."""

    def __init__(self, backends: Sequence[Decoder | Backend], waiting: int) -> None:
        self.most = waiting
        self.workers = [Worker(backend) for backend in backends]
        self.busy = 0
        self._mean = 1.0
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), name=f"worker-{i}", daemon=True)
            for i, worker in enumerate(self.workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def check(self) -> None:
        """Raise Refused where nothing more can wait."""
        if self.waiting >= self.most:
            raise self._full()

    def submit(self, job: Job) -> None:
        """Put a job into the queue. Raises Refused where that is full."""
        with self._changed:
            if self._closed:
                raise Refused(503, "The server is ending; ask another.", "ending")
            idle = len(self.workers) - self.busy
            if len(self._waiting) >= self.most + idle:
                raise self._full()
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Let go of a job, wherever it is; one that has ended stays as it is."""
        job.unwanted.set()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def close(self, *, at_once: bool = False) -> None:
        """Take nothing more, finish what is there (or let go of it), and end the threads."""
        with self._changed:
            self._closed = True
            if at_once:
                self._waiting.clear()
                for worker in self.workers:
                    if worker.job is not None:
                        worker.job.unwanted.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _full(self) -> Refused:
        wait = self._mean * (len(self._waiting) + 1) / len(self.workers)
        seconds = max(1, min(LONGEST_WAIT, round(wait)))
        return Refused(
            429, f"{self.most} requests wait already; ask again in {seconds} s.", "queue_full",
            {"Retry-After": str(seconds)},
        )  # fmt: skip

    def _run(self, worker: Worker) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                job = self._waiting.popleft()
                self.busy += 1
            started = time.perf_counter()
            try:
                worker.do(job)
            finally:
                with self._changed:
                    self.busy -= 1
                    self._mean += 0.2 * (time.perf_counter() - started - self._mean)
