"""What a user can ask a trained model: how likely pCR is."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.artifacts import write_csv
from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import Harm3Error, Stopped, sentence
from napari_harm3.jobs.cohort import prepare_case, work_folder
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.notices import MADE_UP

if TYPE_CHECKING:
    from napari_harm3.inference.predictor import Predictor

COLUMNS = ("case_id", "probability", "seen", "trained_on", "missing", "message")


def predict(
    model: Path,
    *,
    cohort: Path,
    case: str | None = None,
    out: Path | None = None,
    work: Path | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Predict one case, or every case of a cohort.

    A case of the run's own cohort is asked only of the fold that held it out. A
    case that lacks an input gets a row with ``missing`` and ``message``, and no
    probability.
    """
    from napari_harm3.inference.predictor import Predictor

    table = read_cohort(cohort, allow_external=allow_external)
    cases = table.cases if case is None else (table.case(case),)
    predictor = Predictor.load(model, resolve_device(device))
    yield from origin_warning(predictor)
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(cases, start=1):
        row = blank_row(one, predictor)
        try:
            row["message"] = predictor.refusal(one)
            if not row["message"]:
                row |= yield from _asked(predictor, one, work_folder(cohort, work))
        except Stopped:
            raise
        except (Harm3Error, OSError) as error:  # one bad case never stops the rest
            row["message"] = sentence(error)
        rows.append(row)
        yield Progress(
            stage="predict", step=number, of=len(cases), text=one.case_id, data=row
        )
    if out is not None:
        write_csv(out, map(_printed, rows), COLUMNS)
    yield finished("predict", {"predictions": rows})


def origin_warning(predictor: "Predictor") -> Iterator[Progress]:
    """Warn of a model that has seen only made-up patients."""
    if predictor.made_up:
        yield Progress(stage="model", warning=MADE_UP)


def blank_row(case: Case, predictor: "Predictor") -> dict[str, Any]:
    """Return a row of ``predictions`` before anything is known."""
    return {
        "case_id": case.case_id,
        "probability": None,
        "seen": None,
        "trained_on": predictor.trained_on,
        "missing": list(case.missing),
        "message": "",
    }


def _asked(
    predictor: "Predictor", case: Case, work: Path
) -> Generator[Progress, None, dict[str, Any]]:
    from napari_harm3.data.prepare import prepared_case

    predictor.check_blind()
    for progress in prepare_case(
        case,
        inputs=predictor.inputs,
        work=work,
        device=predictor.device,
        annotations=predictor.reads_annotations,
    ):
        if progress.stage == "slides":  # the long one; a bar a volume is too many
            yield progress
    prepared = prepared_case(case, predictor.inputs, work)
    # Only now is it known whether its slides show anything.
    row = {"missing": list(prepared.case.missing)}
    if fault := predictor.refusal(prepared.case):
        return row | {"message": fault}
    sight = predictor.sight(prepared.identities.values())
    batch = predictor.batch(prepared)
    return row | {
        "probability": predictor.probability(batch, sight.folds),
        "seen": sight.seen,
        "folds": list(sight.folds),
        "message": answered_without(prepared.case, predictor),
    }


def answered_without(case: Case, predictor: "Predictor") -> str:
    """Say what a model that can do without had to do without; empty if nothing."""
    said = [_unmeasured(case, predictor), case.bare]
    if predictor.lacks_annotations(case):
        said.append(
            "answered without annotations before and after therapy, by the mean of "
            "the training cases"
        )
    return "; ".join(filter(None, said))


def _unmeasured(case: Case, predictor: "Predictor") -> str:
    if not case.missing or predictor.requires:
        return ""
    missing = ", ".join(case.missing)
    known = predictor.auc_without(case.missing)
    measured = (
        "how good it is then was not measured"
        if known is None
        else f"its AUC then was {known:.3f} in cross-validation"
    )
    return f"answered without {missing}: {measured}"


def _printed(row: dict[str, Any]) -> dict[str, Any]:
    probability = row["probability"]
    return row | {
        "probability": "" if probability is None else f"{probability:.6f}",
        "missing": " ".join(row["missing"]),
    }
