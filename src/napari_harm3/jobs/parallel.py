"""Do one thing to many items: here, in processes, or on a Dask cluster."""

import multiprocessing
import os
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from napari_harm3.errors import ConfigError, Harm3Error

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
ANSWER_SECONDS = 10
"""A cluster's scheduler that is silent longer is not there."""

Run = Callable[[Sequence[Item]], Iterator[tuple[int, Outcome | Exception]]]
"""Yields an item's place and what came of it, in the order in which they finish."""


@dataclass
class _Worker:
    """What a worker process knows of itself."""

    number: int = 0
    stopped: Callable[[], bool] = lambda: False


_self = _Worker()


class _ProcessDiedError(Harm3Error):
    """The process that worked on an item died."""

    def __init__(self) -> None:
        super().__init__(
            "A process died at its work, perhaps for lack of memory: use fewer "
            "--workers."
        )


def core_count() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_number() -> int:
    """Return this process's number among those that share its machine's GPUs."""
    return _self.number


def stopping() -> bool:
    """Return whether this process is asked to stop; long work asks now and then."""
    return _self.stopped()


@contextmanager
def stoppable(stopped: Callable[[], bool]) -> Iterator[None]:
    """Let `stopping` tell, for a while, what somebody else in this process heard."""
    before, _self.stopped = _self.stopped, stopped
    try:
        yield
    finally:
        _self.stopped = before


def each(
    function: Callable[[Item], Outcome],
    items: Sequence[Item],
    *,
    workers: int,
    scheduler: str | None = None,
    lost: Callable[[Item, Exception | None], Outcome] | None = None,
) -> Iterator[tuple[Item, Outcome]]:
    """Yield every item with its outcome, in the order in which they finish.

    Closing the generator drops what has not begun, and asks what has to stop; a
    cluster ends what has begun.

    Parameters
    ----------
    function
        A function of a module: it travels to other processes by name.
    workers
        Processes at once; 1 works in this one.
    scheduler
        Address of a running Dask cluster, which then does the work.
    lost
        The outcome of an item that comes back from another process without one: with
        the error, or None if it took that process down. An error if not given.

    Raises
    ------
    ConfigError
        If a cluster is named and dask.distributed is not installed, or the
        cluster does not answer; if there are no workers.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers do no work: give --workers 1 or more.")
    if scheduler is not None:
        run: Run[Item, Outcome] = partial(_on_cluster, function, address=scheduler)
    elif workers == 1 or len(items) < 2:
        yield from ((item, function(item)) for item in items)
        return
    else:
        run = partial(_in_processes, function, workers=workers)
    yield from _surviving(run, items, workers, lost or _raised)


def _surviving(
    run: Run[Item, Outcome],
    items: Sequence[Item],
    workers: int,
    lost: Callable[[Item, Exception | None], Outcome],
) -> Iterator[tuple[Item, Outcome]]:
    """Go on after a process has died, and find out which item it died of."""
    left = list(items)
    while left:
        died = []
        for place, outcome in run(left):
            if isinstance(outcome, _ProcessDiedError):
                died.append(place)
            else:
                yield left[place], _kept(left[place], outcome, lost)
        # One was on its way to each process, and one more was waiting.
        left = [left[place] for place in sorted(died)]
        suspects, left = left[: workers + 1], left[workers + 1 :]
        for item in suspects:
            for _, outcome in run([item]):
                yield item, _kept(item, outcome, lost)


def _kept(
    item: Item,
    outcome: Outcome | Exception,
    lost: Callable[[Item, Exception | None], Outcome],
) -> Outcome:
    if isinstance(outcome, _ProcessDiedError):
        return lost(item, None)
    return lost(item, outcome) if isinstance(outcome, Exception) else outcome


def _raised(_: Item, error: Exception | None) -> Any:
    raise error or _ProcessDiedError


def _result(future: Any) -> Any:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - told where the item is known
        return error


def _in_processes(
    function: Callable[[Item], Outcome], items: Sequence[Item], *, workers: int
) -> Iterator[tuple[int, Outcome | Exception]]:
    # A forked copy of a process that holds torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    stop, numbers = context.Event(), context.Value("i", 0)
    pool = ProcessPoolExecutor(
        min(workers, len(items)),
        mp_context=context,
        initializer=_settle,
        initargs=(stop, numbers),
    )
    try:
        with _shielded():
            running = {pool.submit(function, item): i for i, item in enumerate(items)}
        for future in as_completed(running):
            outcome = _result(future)
            broken = isinstance(outcome, BrokenProcessPool)
            yield running[future], _ProcessDiedError() if broken else outcome
    finally:
        stop.set()
        try:
            pool.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:  # asked twice: what is begun is not waited for
            for process in multiprocessing.active_children():
                process.kill()
            raise


@contextmanager
def _shielded() -> Iterator[None]:
    """Let processes be born deaf to Ctrl+C, which reaches all of a terminal's.

    The parent says when to stop; a child that hears it as it loads dies noisily.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle(stop: Any, numbers: Any) -> None:
    _self.stopped = stop.is_set
    with numbers.get_lock():
        _self.number = numbers.value
        numbers.value += 1
    # Threads of several processes on the same cores spin against each other.
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the parent was killed: nobody would ask, and the locks stay held."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _on_cluster(
    function: Callable[[Item], Outcome], items: Sequence[Item], *, address: str
) -> Iterator[tuple[int, Outcome | Exception]]:
    try:
        from dask.distributed import Client, KilledWorker
        from dask.distributed import as_completed as as_finished
    except ImportError as error:
        raise ConfigError(
            "--scheduler needs dask.distributed: pip install 'napari-harm3[all]'."
        ) from error
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No Dask scheduler answers at {address}: start one, or leave "
            "--scheduler out."
        ) from error
    # Not `with client`, which cannot be left by another thread than entered it.
    with closing(client):
        work = partial(_numbered, function, _numbers(client))
        running = {f: i for i, f in enumerate(client.map(work, items, pure=False))}
        # A client that leaves takes along what has not begun.
        for future in as_finished(running):
            outcome = _result(future)
            if isinstance(outcome, KilledWorker):
                outcome = _ProcessDiedError()
            elif isinstance(outcome, CancelledError):
                outcome = ConfigError(
                    f"The Dask scheduler at {address} went away: run again."
                )
            yield running[future], outcome


def _numbers(client: Any) -> dict[str, int]:
    """Return each worker's number among those that see the same GPUs of one machine.

    One that a launcher gave GPUs of its own is alone with them. One that joins later
    has none, and takes the first GPU.
    """
    fellows = defaultdict(list)
    for worker, gpus in client.run(_visible_gpus, on_error="ignore").items():
        fellows[gpus].append(worker)
    return {
        worker: number
        for together in fellows.values()
        for number, worker in enumerate(sorted(together))
    }


def _visible_gpus() -> tuple[str, str | None]:
    return socket.gethostname(), os.environ.get("CUDA_VISIBLE_DEVICES")


def _numbered(
    function: Callable[[Item], Outcome], numbers: Mapping[str, int], item: Item
) -> Outcome:
    from dask.distributed import get_worker

    _self.number = numbers.get(get_worker().address, 0)
    return function(item)
