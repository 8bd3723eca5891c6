"""Five folds by patient (section 3.1), one after the other or side by side."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.splits import assign_folds
from napari_harm3.cohort.table import Cohort
from napari_harm3.config import to_plain
from napari_harm3.data.clinical import ClinicalEncoding, clinical_encoding
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.errors import FeatureError, TrainingError
from napari_harm3.models.registry import model_entry
from napari_harm3.training.config import RunConfig
from napari_harm3.training.events import Event
from napari_harm3.training.fold import FoldTask, run_fold
from napari_harm3.training.fold_pool import run_tasks
from napari_harm3.training.run import (
    REFIT,
    STOP,
    append_event,
    check_cases,
    end_noted,
    write_card,
    write_folds,
    write_results,
)
from napari_harm3.training.run_cases import keep_cases
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.features import IDENTITY

WIDTH = "features a patch"
STEP_SECONDS = 2.0
"""Steps are noted in ``events.jsonl`` no more often than this; epochs always."""


def trainable(cohort: Cohort, *configs: RunConfig) -> tuple[list[Case], dict[str, str]]:
    """Return the labelled cases that have what every method needs.

    Returns
    -------
    :
        The cases, and why each other one is left out.
    """
    left_out = {}
    for case in cohort.cases:
        lacks = {
            name: None
            for config in configs
            for name in model_entry(config.method).lacks(case, config.model)
        }
        if lacks:
            left_out[case.case_id] = f"lacks {', '.join(lacks)}"
        elif case.pcr is None:
            left_out[case.case_id] = "has no label"
        elif case.split == "test":
            left_out[case.case_id] = "belongs to the test split"
    return [c for c in cohort.cases if c.case_id not in left_out], left_out


def dealt(cases: Sequence[Case], config: RunConfig) -> list[dict[str, int]]:
    """Return for every repeat the fold that holds out each case.

    Raises
    ------
    TrainingError, CohortError
        If there is no case, or the cases cannot be dealt so that every fold is trained
        and measured on both classes.
    """
    if not cases:
        raise TrainingError(
            f"No case has a label and all that {config.method} needs: `harm3 check` "
            "says what is missing."
        )
    repeats = [
        assign_folds(cases, folds=config.folds, seed=config.seed + 7919 * repeat)
        for repeat in range(config.repeats)
    ]
    for assigned in repeats:
        for fold in sorted(set(assigned.values())):
            if len({c.pcr for c in cases if assigned[c.case_id] != fold}) < 2:
                raise TrainingError(
                    f"Fold {fold} would be trained on one class only: add cases, or "
                    "give other folds."
                )
    return repeats


def cross_validate(
    cohort: Cohort,
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    *,
    device: str,
    train: Callable[[Sequence[FoldTask]], Iterator[Event]] | None = None,
) -> Iterator[Event]:
    """Train every fold and yield events; the last holds the ``metrics``.

    Finished folds are kept, begun ones go on from their last state.

    Parameters
    ----------
    cohort
        Where the cases come from.
    prepared
        The cases that `trainable` names.
    config, run
        Checked by `open_run`.
    device
        ``cpu`` or ``cuda:N``.
    train
        Trains folds, wherever that may be, and yields their `noted_events`; here, one
        after the other, if not given.

    Raises
    ------
    TrainingError
        If there are too few cases of a class, a fold's process died,
        the run was begun with other cases, or a fold's loss is no number.
    FeatureError
        If the slides' features were made in different ways.
    Stopped
        If ``RUN/stop`` appeared.
    """
    with end_noted(run):
        yield from _validated(
            cohort, prepared, config, run, device, train or one_by_one
        )


def refit(
    cohort: Cohort,
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    *,
    device: str,
) -> Iterator[Event]:
    """Fit one network on every case of a run, in ``RUN/refit``; yield events.

    Nothing is held out, so nothing measures it: the run's figures are those of its
    cross-validation. Begun, it goes on from its last state.

    Parameters
    ----------
    cohort, prepared
        As `cross_validate` takes them.
    config, run
        Of a run that `open_refit` has opened.
    device
        ``cpu`` or ``cuda:N``.

    Raises
    ------
    TrainingError
        If the run was trained on other cases, labels or files.
    Stopped
        If ``RUN/stop`` appeared.
    """
    check_cases(run, [one.case.case_id for one in prepared])
    _check_whole(prepared, config)
    keep_cases(run, prepared, model_entry(config.method).known_by)
    task = FoldTask(
        fold=0,
        config=config,
        run=run / REFIT,
        fitted=tuple(prepared),
        held_out=(),
        origin=run_origin(cohort, prepared, config),
        device=device,
    )
    yield from run_fold(task, stopped=(run / STOP).exists)


def _validated(
    cohort: Cohort,
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    device: str,
    train: Callable[[Sequence[FoldTask]], Iterator[Event]],
) -> Iterator[Event]:
    _, left_out = trainable(cohort, config)
    tasks = plan(cohort, prepared, config, run, device=device)
    for case_id, why in left_out.items():
        yield _noted(run, {"kind": "left_out", "text": f"{case_id} {why}"})
    yield from train(tasks)
    yield conclude(tasks, left_out)


def plan(
    cohort: Cohort,
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    *,
    device: str,
) -> list[FoldTask]:
    """Return what is to be done for every fold, and write ``folds.csv``.

    Raises
    ------
    TrainingError, CohortError, FeatureError
        If there are too few cases of a class, two patients share a file, the run was
        begun with other cases, labels or files, or the features were made in different
        ways.
    """
    check_distinct(prepared)
    _check_whole(prepared, config)
    tasks = _tasks(prepared, config, run, run_origin(cohort, prepared, config), device)
    keep_cases(run, prepared, model_entry(config.method).known_by)
    write_folds(run, [(p.case.case_id, t.fold) for t in tasks for p in t.held_out])
    return tasks


def one_by_one(tasks: Sequence[FoldTask]) -> Iterator[Event]:
    """Train folds in this process."""
    yield from noted_events(run_tasks(tasks, jobs=1))


def noted_events(events: Iterator[tuple[Path, Event]]) -> Iterator[Event]:
    """Pass on the events of runs, and append each to its run's ``events.jsonl``."""
    noted: dict[Path, float] = {}
    for run, event in events:
        now = time.monotonic()
        if event["kind"] != "step" or now - noted.get(run, 0) >= STEP_SECONDS:
            noted[run] = now
            _noted(run, event)
        yield event | {"run": run.name}


def conclude(tasks: Sequence[FoldTask], left_out: Mapping[str, str]) -> Event:
    """Write what a run came to once all its folds are finished; return the event."""
    run = tasks[0].run
    metrics = write_results(run, left_out)
    write_card(run, tasks[0].origin, metrics)
    return _noted(run, {"kind": "done", "metrics": metrics, "text": "done"})


def _check_whole(prepared: Sequence[PreparedCase], config: RunConfig) -> None:
    """Refuse a slide of which no patch can be used, where the method needs one."""
    for one in prepared:
        if model_entry(config.method).lacks(one.case, config.model):
            raise TrainingError(
                f"{config.method} cannot be trained on {one.case.case_id}: "
                f"{one.case.bare}. Give another slide, or take it out of the table."
            )


def check_distinct(prepared: Sequence[PreparedCase]) -> None:
    """Refuse one image of two patients: it would be trained on and held out.

    The cases of one patient may share it, as they are held out together.

    Raises
    ------
    TrainingError
        Naming both cases and the columns.
    """
    seen: dict[str, tuple[Case, str]] = {}
    for one in prepared:
        for column, content in one.identities.items():
            first, where = seen.setdefault(content, (one.case, column))
            if first.patient != one.case.patient:
                raise TrainingError(
                    f"{first.case_id} ({where}) and {one.case.case_id} ({column}) have "
                    "the same image: it would be learned in one fold and held out in "
                    "another. Correct the table, or remove one of them."
                )


def _noted(run: Path, event: Event) -> Event:
    append_event(run, event)
    return event


def _tasks(
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    origin: Event,
    device: str,
) -> list[FoldTask]:
    tasks: list[FoldTask] = []
    for assigned in dealt([one.case for one in prepared], config):
        for fold in range(max(assigned.values()) + 1):
            tasks.append(
                FoldTask(
                    fold=len(tasks),
                    config=config,
                    run=run,
                    fitted=tuple(
                        p for p in prepared if assigned[p.case.case_id] != fold
                    ),
                    held_out=tuple(
                        p for p in prepared if assigned[p.case.case_id] == fold
                    ),
                    origin=origin,
                    device=device,
                )
            )
    return tasks


def run_origin(
    cohort: Cohort, prepared: Sequence[PreparedCase], config: RunConfig
) -> Event:
    """Return what every fold's JSON says of the data; features seen must be alike."""
    seen = "wsi" in model_entry(config.method).modalities
    bags = [(one, bag) for one in prepared for bag in one.bags if seen]
    identity = _identity(bags[0][1]) if bags else {WIDTH: 1}
    for _, bag in bags:
        other = _identity(bag)
        for name, value in identity.items():
            if other[name] != value:
                raise FeatureError(
                    f"{bags[0][1].name} and {bag.name} were made with different "
                    f"{name} ({value} and {other[name]}): extract them alike."
                )
    width = identity.pop(WIDTH)
    given = any(bag in one.case.slides for one, bag in bags)
    return {
        "trained_on": "phantom" if cohort.made_up else cohort.name,
        "made_up": cohort.made_up,
        "features": identity,
        "patch_width": width,
        "untrained_encoder": bool(bags)
        and config.inputs.encoder.untrained
        and not given,
        "clinical": to_plain(_clinical(prepared, config)),
    }


def _clinical(prepared: Sequence[PreparedCase], config: RunConfig) -> ClinicalEncoding:
    """Return how clinical columns are read; nothing for who does not look at them."""
    if "clinical" not in model_entry(config.method).modalities:
        return ClinicalEncoding()
    names = config.inputs.clinical
    encoding = clinical_encoding([one.case for one in prepared], names)
    if not encoding.columns:
        raise TrainingError(
            f"{config.method} looks at clinical columns, and the cohort table has none "
            f"of {', '.join(names)}: add some, or name others in run.toml "
            "(inputs.clinical)."
        )
    return encoding


def _identity(path: Path) -> Event:
    """Return what must agree between all bags; what they say, and their width."""
    bag = read_bag(path)
    said = {name: bag.attributes.get(name) for name in IDENTITY}
    return {**said, WIDTH: int(bag.features.shape[1])}
