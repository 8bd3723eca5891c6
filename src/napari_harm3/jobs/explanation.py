"""What a user can ask about a prediction: why."""

from pathlib import Path
from typing import Any

from napari_harm3.cohort.table import read_cohort
from napari_harm3.jobs.cohort import prepare_case, work_folder
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.prediction import blank_row, lacking, origin_warning
from napari_harm3.jobs.progress import Job, Progress, finished


def explain(
    model: Path,
    *,
    cohort: Path,
    case: str,
    out: Path,
    work: Path | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Write the heat maps of a case, its slide's attention, agreement and figure.

    A case that lacks an input of the model gets no map and no probability, and the
    result says what is missing.
    """
    from napari_harm3.data.prepare import prepared_case
    from napari_harm3.explain.case import explain_case
    from napari_harm3.inference.predictor import Predictor
    from napari_harm3.report.case_report import write_explanation

    one = read_cohort(cohort, allow_external=allow_external).case(case)
    predictor = Predictor.load(model, resolve_device(device))
    predictor.check_blind()
    yield from origin_warning(predictor)
    message = lacking(one, predictor)
    if message:
        row = blank_row(one, predictor)
        empty: dict[str, Any] = {
            "maps": {},
            "agreement": {},
            "attention": None,
            "figure": None,
        }
        yield finished("explain", {**row, **empty, "message": message})
        return
    folder = work_folder(cohort, work)
    yield from prepare_case(
        one, inputs=predictor.inputs, work=folder, device=predictor.device
    )
    yield Progress(stage="explain", step=0, of=2, text=case)
    prepared = prepared_case(one, predictor.inputs, folder)
    explanation = explain_case(predictor, prepared)
    yield Progress(stage="explain", step=1, of=2, text=case)
    result = write_explanation(
        out,
        explanation,
        trained_on=predictor.trained_on,
        made_up=predictor.made_up,
    )
    yield finished("explain", result)
