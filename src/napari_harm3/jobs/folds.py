"""Train folds: in this process, in others, or on a Dask cluster."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from napari_harm3.errors import TrainingError
from napari_harm3.jobs.parallel import each

if TYPE_CHECKING:
    from napari_harm3.training.events import Event
    from napari_harm3.training.fold import FoldTask


def fold_events(
    tasks: "Sequence[FoldTask]",
    *,
    jobs: int,
    scheduler: str | None,
    tolerant: bool = False,
) -> "Iterator[Event]":
    """Train folds of one run or several, and yield what happens.

    Every event stands in its run's ``events.jsonl``, whoever trained the fold.

    Parameters
    ----------
    tasks
        Finished ones pass at once; begun ones go on from their last state.
    jobs
        Folds at once on this machine.
    scheduler
        Address of a running Dask cluster, whose workers see the same folders; of each
        fold only its end is heard then.
    tolerant
        Whether a fold that fails takes only its own run with it, which ends with an
        event ``failed``.

    Raises
    ------
    TrainingError
        If a fold fails, unless that is tolerated.
    """
    from napari_harm3.training.cross_validation import noted_events
    from napari_harm3.training.fold_pool import run_tasks

    if scheduler is None:
        yield from noted_events(run_tasks(tasks, jobs=jobs, tolerant=tolerant))
        return
    for task, end in each(whole_fold, tasks, workers=jobs, scheduler=scheduler):
        if end["kind"] == "failed" and not tolerant:
            raise TrainingError(end["text"])
        yield end | {"run": task.run.name, "fold": task.fold}


def whole_fold(task: "FoldTask") -> "Event":
    """Train a fold to its end; return its last word, ``fold`` or ``failed``."""
    *_, end = fold_events([task], jobs=1, scheduler=None, tolerant=True)
    return end
