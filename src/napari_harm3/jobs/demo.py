"""The whole road in one go, on a made-up cohort."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.cohort.table import read_cohort
from napari_harm3.jobs.cohort import make_phantom, prepare_cohort
from napari_harm3.jobs.encoders import untrained_warning
from napari_harm3.jobs.explanation import explain
from napari_harm3.jobs.prediction import predict
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.jobs.report import report
from napari_harm3.jobs.training import train
from napari_harm3.phantom.config import PhantomConfig

if TYPE_CHECKING:
    from napari_harm3.training.config import RunConfig

WORKERS = 2


def demo(
    out: Path,
    *,
    cohort: PhantomConfig,
    config: "RunConfig",
    device: str = "auto",
    work: Path | None = None,
) -> Job:
    """Make up a cohort, then prepare, train, evaluate, predict, explain, report.

    Run again, it goes on where it was stopped: each stage keeps what is finished.
    """
    yield Progress(stage="demo", warning=untrained_warning(config.inputs.encoder))
    made = yield from _stage(
        make_phantom(out / "cohort", config=cohort, workers=WORKERS)
    )
    table, run = Path(made["cohort"]), out / "run"
    yield from _stage(
        prepare_cohort(
            table, inputs=config.inputs, work=work, workers=WORKERS, device=device
        )
    )
    trained = yield from _stage(
        train(
            table,
            run=run,
            config=config,
            work=work,
            device=device,
            jobs=WORKERS,
            resume=True,
        )
    )
    yield from _stage(
        predict(
            run, cohort=table, out=out / "predictions.csv", work=work, device=device
        )
    )
    case_id = _telling_case(table)
    explained = yield from _stage(
        explain(
            run,
            cohort=table,
            case=case_id,
            out=out / "explanation",
            work=work,
            device=device,
        )
    )
    reported = yield from _stage(
        report(run, out=out / "report.html", explanation=out / "explanation")
    )
    yield finished(
        "demo",
        {
            "cohort": made["cohort"],
            "run": trained["run"],
            "predictions": str((out / "predictions.csv").resolve()),
            "case": case_id,
            "explanation": str((out / "explanation").resolve()),
            "probability": explained["probability"],
            "report": reported["report"],
            "metrics": trained["metrics"],
        },
    )


def _stage(job: Job) -> Generator[Progress, None, dict[str, Any]]:
    """Pass a stage's messages on, and return its result."""
    result: dict[str, Any] = {}
    for message in job:
        if message.result is None:
            yield message
        else:
            result = message.result
    return result


def _telling_case(table: Path) -> str:
    """Return the first complete case with a lesion left to look for."""
    cases = [case for case in read_cohort(table).cases if case.complete]
    return next((c for c in cases if c.pcr == 0 and c.masks), cases[0]).case_id
