"""What a user can ask about training: fit, measure, give away."""

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import Cohort, read_cohort
from napari_harm3.config import read_toml
from napari_harm3.errors import ModelError, Stopped, TrainingError
from napari_harm3.jobs.cohort import prepare_cases, work_folder
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.folds import fold_events
from napari_harm3.jobs.prediction import predict
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.training.config import RunConfig

if TYPE_CHECKING:
    from napari_harm3.data.prepare import PreparedCase

NOTED_SECONDS = 1.0
"""Preparing is noted in ``events.jsonl`` no more often than this."""


def train(
    cohort: Path,
    *,
    run: Path,
    config: RunConfig,
    work: Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    scheduler: str | None = None,
    resume: bool = False,
    allow_external: bool = False,
) -> Job:
    """Cross-validate a method on a cohort, preparing what is missing.

    Creating ``RUN/stop`` stops it between two steps; resumed, it goes on there.
    ``jobs`` folds are trained at once, or as many as the Dask cluster at ``scheduler``
    has workers.
    """
    from napari_harm3.training.cross_validation import cross_validate, dealt, trainable
    from napari_harm3.training.run import end_noted, open_run, remember_cohort

    table = read_cohort(cohort, allow_external=allow_external)
    device = resolve_device(device)
    cases, _ = trainable(table, config)
    dealt(cases, config)  # what is wrong with the table is said before it costs time
    open_run(run, config, resume=resume)
    remember_cohort(run, cohort, work)
    with end_noted(run):
        prepared = yield from prepare_trainable(
            cases,
            [config],
            run=run,
            work=work_folder(cohort, work),
            device=device,
            workers=jobs,
        )
    folds = config.folds * config.repeats
    done: dict[int, float] = {}
    for event in cross_validate(
        table,
        [prepared[case.case_id] for case in cases],
        config,
        run,
        device=device,
        train=partial(fold_events, jobs=jobs, scheduler=scheduler),
    ):
        if event["kind"] == "done":
            result = {"run": str(run.resolve()), "metrics": event["metrics"]}
            yield finished("training", result)
        else:
            yield _told(event, config, folds, done)


def _told(
    event: dict[str, Any], config: RunConfig, folds: int, done: dict[int, float]
) -> Progress:
    """Return an event as progress; the bar counts epochs of all folds."""
    kind, text = event["kind"], str(event.get("text", ""))
    if kind == "epoch":
        done[event["fold"]] = event["epoch"]
        text = f"fold {event['fold']}, loss {event['loss']:.3f}"
    elif kind == "fold":
        done[event["fold"]] = config.training.epochs
    epochs = config.training.epochs * folds
    return Progress(
        stage="training",
        step=int(sum(done.values())),
        of=epochs,
        text=text,
        data={k: v for k, v in event.items() if k != "text"},
        warning=text if kind in ("warning", "left_out") else None,
    )


def prepare_trainable(
    cases: Sequence[Case],
    configs: Sequence[RunConfig],
    *,
    run: Path,
    work: Path,
    device: str,
    workers: int,
) -> Generator[Progress, None, "dict[str, PreparedCase]"]:
    """Prepare what methods read of some cases, and return these by name.

    How far it is stands in the events of ``run``. The methods have the same inputs.

    Raises
    ------
    TrainingError
        If a file of theirs cannot be used.
    Stopped
        If ``RUN/stop`` appeared.
    """
    from napari_harm3.data.prepare import prepared_case
    from napari_harm3.training.run import STOP, append_event

    inputs, reads = configs[0].inputs, _reads(configs)
    cases = [case.only(reads) for case in cases]
    noted = 0.0
    result: dict[str, Any] = {}
    for message in prepare_cases(
        cases, inputs=inputs, work=work, workers=workers, device=device
    ):
        if message.result is not None:
            result = message.result
            continue
        if monotonic() - noted >= NOTED_SECONDS:
            noted = monotonic()
            about = {name: getattr(message, name) for name in ("stage", "step", "of")}
            append_event(run, {"kind": "preparing", **about, "text": message.text})
        if (run / STOP).exists():
            raise Stopped("Preparing stopped; resume it any time.")
        yield message
    if failed := result["failed"]:
        first = failed[0]
        raise TrainingError(
            f"{len(failed)} files cannot be used, first {first['case_id']}, "
            f"{first['column']}: {first['message']} `harm3 check` lists them all."
        )
    return {case.case_id: prepared_case(case, inputs, work) for case in cases}


def _reads(configs: Sequence[RunConfig]) -> set[str]:
    """Return which files of a case methods read."""
    from napari_harm3.models.registry import model_entry

    entries = [model_entry(one.method) for one in configs]
    reads = {name for entry in entries for name in (*entry.reads, *entry.known_by)}
    if any(one.inputs.mri.crop == "annotation" for one in configs):
        reads.add("annotation")
    return reads


def evaluate(
    model: Path,
    *,
    cohort: Path | None = None,
    work: Path | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Measure a run on its held-out cases, or a model on another cohort.

    On another cohort the threshold is the training's, and a case that was trained on
    is refused. Each case that is not measured is warned of; those of which a file
    could not be used are ``failed``.
    """
    from napari_harm3.training.run import measured_again, origin_of

    if cohort is None:
        metrics = measured_again(model)
        about = {"trained_on": origin_of(model)["trained_on"], "failed": []}
        yield finished("evaluate", {"metrics": metrics, **about})
        return
    rows: list[dict[str, Any]] = []
    for message in predict(
        model, cohort=cohort, work=work, device=device, allow_external=allow_external
    ):
        row = message.data or {}
        if row.get("seen") not in (None, "new"):
            raise ModelError(
                f"Case {row['case_id']} is one of the model's own: an external cohort "
                "has none of them. `harm3 evaluate RUN` measures those held out."
            )
        if message.result is None:
            yield message
        else:
            rows = message.result["predictions"]
    table = read_cohort(cohort, allow_external=allow_external)
    yield finished("evaluate", (yield from _external(model, table, rows)))


def _external(
    model: Path, table: Cohort, rows: list[dict[str, Any]]
) -> Generator[Progress, None, dict[str, Any]]:
    """Measure predictions of another cohort, warning of each case that has none."""
    from napari_harm3.inference.predictor import Predictor
    from napari_harm3.training.metrics import FoldScores, cross_validated

    predictor = Predictor.load(model, "cpu")
    usable: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    failed: list[str] = []
    for row in rows:
        case = table.case(row["case_id"])
        if missing := predictor.missing_inputs(case):
            left_out[case.case_id] = f"lacks {', '.join(missing)}"
        elif row["probability"] is None:
            left_out[case.case_id] = row["message"]
            if not set(predictor.requires) & set(row["missing"]):  # bare slides
                failed.append(case.case_id)
        elif case.pcr is None:
            left_out[case.case_id] = "has no label"
        else:
            usable.append(row | {"pcr": case.pcr})
    for case_id, why in left_out.items():
        yield Progress(stage="evaluate", warning=f"{case_id} is left out: {why}")
    if not usable:
        raise TrainingError("No case of the cohort has both a prediction and a label.")
    scores = FoldScores(
        label=np.array([row["pcr"] for row in usable], dtype=int),
        score=np.array([row["probability"] for row in usable]),
        threshold=predictor.threshold(predictor.folds),
        patient=tuple(table.case(row["case_id"]).patient for row in usable),
    )
    return {
        "metrics": cross_validated([scores]) | {"left_out": left_out},
        "trained_on": predictor.trained_on,
        "failed": failed,
    }


def export(
    run: Path,
    *,
    out: Path,
    refit: bool = False,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Gather a run's networks in one folder to give away.

    With ``refit`` it holds one network, fitted on every case of the run's cohort,
    instead of one per fold.
    """
    from napari_harm3.inference.export import check_empty, export_model

    check_empty(out)
    model = run
    if refit:
        model = yield from _refitted(run, device, allow_external)
    export_model(model, out)
    yield finished("export", {"model": str(out.resolve())})


def _refitted(
    run: Path, device: str, allow_external: bool
) -> Generator[Progress, None, Path]:
    """Fit one network on every case of a run; return its folder."""
    from napari_harm3.training.cross_validation import refit, trainable
    from napari_harm3.training.run import REFIT, open_refit, remembered_cohort

    cohort, work = remembered_cohort(run)
    open_refit(run)
    config = read_toml(run / "run.toml", RunConfig)
    table = read_cohort(cohort, allow_external=allow_external)
    device = resolve_device(device)
    cases, _ = trainable(table, config)
    prepared = yield from prepare_trainable(
        cases,
        [config],
        run=run / REFIT,
        work=work_folder(cohort, work),
        device=device,
        workers=1,
    )
    fitted = [prepared[case.case_id] for case in cases]
    done: dict[int, float] = {}
    for event in refit(table, fitted, config, run, device=device):
        yield _told(event, config, 1, done)
    return run / REFIT
