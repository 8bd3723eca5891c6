"""Do one thing to many items: here, in processes, or on a Dask cluster."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from napari_harm3.errors import ConfigError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass
class _Worker:
    """What a worker process knows of itself."""

    number: int = 0
    stop: Any = None


_self = _Worker()


def core_count() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_number() -> int:
    """Return this process's number among its fellows; 0 outside of a pool."""
    return _self.number


def stopping() -> bool:
    """Return whether this worker is asked to end; long work asks now and then."""
    return _self.stop is not None and _self.stop.is_set()


def each(
    function: Callable[[Item], Outcome],
    items: Sequence[Item],
    *,
    workers: int,
    scheduler: str | None = None,
    lost: Callable[[Item], Outcome] | None = None,
) -> Iterator[tuple[Item, Outcome]]:
    """Yield every item with its outcome, in the order in which they finish.

    Closing the generator drops what has not begun, and asks what has to stop.

    Parameters
    ----------
    function
        A function of a module: it travels to other processes by name.
    workers
        Processes at once; 1 works in this one.
    scheduler
        Address of a running Dask cluster, which then does the work.
    lost
        The outcome of an item that takes its process down; an error if not given.

    Raises
    ------
    ConfigError
        If a cluster is named and dask.distributed is not installed, or the
        cluster does not answer.
    """
    if scheduler is not None:
        yield from _on_cluster(function, items, scheduler)
    elif workers == 1 or len(items) < 2:
        for item in items:
            yield item, function(item)
    elif lost is None:
        yield from _in_processes(function, items, workers)
    else:
        yield from _surviving(function, items, workers, lost)


def _surviving(
    function: Callable[[Item], Outcome],
    items: Sequence[Item],
    workers: int,
    lost: Callable[[Item], Outcome],
) -> Iterator[tuple[Item, Outcome]]:
    """Go on after a process has died, and find out which item it died of."""
    left = list(items)
    while left:
        try:
            for item, outcome in _in_processes(function, left, workers):
                left = [other for other in left if other is not item]
                yield item, outcome
        except BrokenProcessPool:
            # One was on its way to each process, and one more was waiting.
            suspects, left = left[: workers + 1], left[workers + 1 :]
            for item in suspects:
                yield item, _alone(function, item, lost)


def _alone(
    function: Callable[[Item], Outcome], item: Item, lost: Callable[[Item], Outcome]
) -> Outcome:
    try:
        return next(_in_processes(function, [item], 1))[1]
    except BrokenProcessPool:
        return lost(item)


def _in_processes(
    function: Callable[[Item], Outcome], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Outcome]]:
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
        running = {pool.submit(function, item): item for item in items}
        for future in as_completed(running):
            yield running[future], future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _settle(stop: Any, numbers: Any) -> None:
    _self.stop = stop
    with numbers.get_lock():
        _self.number = numbers.value
        numbers.value += 1
    # Threads of several processes on the same cores spin against each other.
    os.environ["OMP_NUM_THREADS"] = "1"
    # Ctrl+C reaches every process of the terminal; the parent says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _on_cluster(
    function: Callable[[Item], Outcome], items: Sequence[Item], address: str
) -> Iterator[tuple[Item, Outcome]]:
    try:
        from dask.distributed import Client
        from dask.distributed import as_completed as as_finished
    except ImportError as error:
        raise ConfigError(
            "--scheduler needs dask.distributed: pip install 'napari-harm3[all]'."
        ) from error
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No Dask scheduler answers at {address}: start one, or leave "
            "--scheduler out."
        ) from error
    with client:
        running = {
            client.submit(function, item, pure=False): number
            for number, item in enumerate(items)
        }
        try:
            for future in as_finished(running):
                yield items[running[future]], future.result()
        finally:
            client.cancel(list(running))
