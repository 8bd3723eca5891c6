"""Do one thing to many items: here, in processes, or on a Dask cluster."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from napari_harm3.errors import ConfigError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def each(
    function: Callable[[Item], Outcome],
    items: Sequence[Item],
    *,
    workers: int,
    scheduler: str | None = None,
) -> Iterator[tuple[Item, Outcome]]:
    """Yield every item with its outcome, in the order in which they finish.

    Closing the generator drops what has not begun.

    Parameters
    ----------
    function
        A function of a module: it travels to other processes by name.
    workers
        Processes at once; 1 works in this one.
    scheduler
        Address of a running Dask cluster, which then does the work.

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
    else:
        yield from _in_processes(function, items, workers)


def _in_processes(
    function: Callable[[Item], Outcome], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Outcome]]:
    pool = ProcessPoolExecutor(
        min(workers, len(items)),
        # A forked copy of a process that holds torch's threads can hang.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_settle,
    )
    try:
        running = {pool.submit(function, item): item for item in items}
        for future in as_completed(running):
            yield running[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _settle() -> None:
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
