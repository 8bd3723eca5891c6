"""What a user can ask about a prediction: why."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.artifacts import write_json
from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import Harm3Error
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.jobs.cohort import prepare_case, work_folder
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.prediction import blank_row, lacking, origin_warning
from napari_harm3.jobs.progress import Job, Progress, finished

if TYPE_CHECKING:
    from napari_harm3.inference.predictor import Predictor

Result = dict[str, Any]


def explain(
    model: Path,
    *,
    cohort: Path,
    case: str,
    out: Path,
    config: ExplainConfig | None = None,
    work: Path | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Write the heat maps of a case, its slide's maps, the link, agreement and figure.

    A case that lacks an input of the model gets no map and no probability, and the
    result says what is missing.
    """
    from napari_harm3.inference.predictor import Predictor

    one = read_cohort(cohort, allow_external=allow_external).case(case)
    predictor = Predictor.load(model, resolve_device(device))
    predictor.check_blind()
    yield from origin_warning(predictor)
    folder = work_folder(cohort, work)
    result = yield from _explained(predictor, one, out, config, folder)
    yield finished("explain", result)


def explain_cohort(
    model: Path,
    *,
    cohort: Path,
    out: Path,
    config: ExplainConfig | None = None,
    work: Path | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Explain every case of a cohort, and how far all maps agree with annotations.

    Each case has a folder of its own; ``agreement.csv`` has a row for each volume and
    label, ``agreement-summary.csv`` means, intervals and strata. One case that fails
    never stops the rest.
    """
    from napari_harm3.explain.agreement_cohort import (
        COLUMNS,
        case_rows,
        summary,
        with_sizes,
    )
    from napari_harm3.inference.predictor import Predictor
    from napari_harm3.report.case_report import write_agreement

    cases = read_cohort(cohort, allow_external=allow_external).cases
    predictor = Predictor.load(model, resolve_device(device))
    predictor.check_blind()
    yield from origin_warning(predictor)
    rows: list[Result] = []
    told: list[Result] = []
    for number, one in enumerate(cases, start=1):
        folder = out / one.case_id
        try:
            found = yield from _explained(
                predictor, one, folder, config, work_folder(cohort, work)
            )
        except (Harm3Error, OSError) as error:  # one bad case never stops the rest
            found = blank_row(one, predictor) | {"message": str(error)}
        told.append(found)
        if found["probability"] is not None:
            rows += case_rows(
                one.case_id,
                found["agreement"],
                pcr=one.pcr,
                probability=found["probability"],
                threshold=found["threshold"],
            )
        yield Progress(stage="cases", step=number, of=len(cases), text=one.case_id)
    sized = with_sizes(rows)
    write_agreement(out / "agreement.csv", sized, COLUMNS)
    means = summary(sized) if sized else []
    write_agreement(
        out / "agreement-summary.csv", means, list(means[0]) if means else ["measure"]
    )
    result = {
        "cases": told,
        "agreement": str((out / "agreement.csv").resolve()),
        "summary": str((out / "agreement-summary.csv").resolve()),
        "failed": [row["case_id"] for row in told if row["probability"] is None],
    }
    write_json(out / "summary.json", result)
    yield finished("explain", result)


def _explained(
    predictor: "Predictor",
    case: Case,
    out: Path,
    config: ExplainConfig | None,
    work: Path,
) -> Generator[Progress, None, Result]:
    """Explain a case into its folder; return what ``--json`` prints."""
    from napari_harm3.data.prepare import prepared_case
    from napari_harm3.explain.case import explain_case
    from napari_harm3.explain.case_link import case_link
    from napari_harm3.explain.slide_maps import case_slide_maps
    from napari_harm3.report.case_report import write_explanation

    message = lacking(case, predictor)
    if message:
        row = blank_row(case, predictor)
        empty: Result = {
            "maps": {},
            "agreement": {},
            "attention": None,
            "figure": None,
        }
        return {**row, **empty, "message": message}
    yield from prepare_case(
        case, inputs=predictor.inputs, work=work, device=predictor.device
    )
    yield Progress(stage="explain", step=0, of=3, text=case.case_id)
    prepared = prepared_case(case, predictor.inputs, work)
    explanation = explain_case(predictor, prepared, config or ExplainConfig())
    yield Progress(stage="explain", step=1, of=3, text=case.case_id)
    slide = case_slide_maps(predictor, prepared)
    link = case_link(predictor, prepared)
    yield Progress(stage="explain", step=2, of=3, text=case.case_id)
    return write_explanation(
        out,
        explanation,
        slide=slide,
        link=link,
        trained_on=predictor.trained_on,
        made_up=predictor.made_up,
    ) | {"threshold": explanation.threshold, "missing": list(case.missing)}
