"""What a user can ask about a prediction: why."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import read_cohort
from napari_harm3.config import to_plain
from napari_harm3.explain.config import ExplainRequest
from napari_harm3.jobs.cohort import prepare_case, work_folder
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.explanation_parts import Recipes, checked, occluded, recipes
from napari_harm3.jobs.prediction import blank_row, origin_warning
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.report.explanation_folder import withdraw

if TYPE_CHECKING:
    from napari_harm3.data.prepare import PreparedCase
    from napari_harm3.explain.asked import AskedCase
    from napari_harm3.inference.predictor import Predictor

Result = dict[str, Any]


def explain(
    model: Path,
    *,
    cohort: Path,
    case: str,
    out: Path,
    request: ExplainRequest | None = None,
    work: Path | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Write the heat maps of a case, its slide's maps, the link, agreement and figure.

    A case that lacks an input of the model gets no map and no probability, nor keeps
    an earlier one, and the result says what is missing. Asked again, it goes on where
    it was stopped: maps by occlusion and finished checks of the same model and case
    are kept.
    """
    from napari_harm3.inference.predictor import Predictor

    request = request or ExplainRequest()
    one = read_cohort(cohort, allow_external=allow_external).case(case)
    predictor = Predictor.load(model, resolve_device(device))
    check_model(predictor, request)
    yield from origin_warning(predictor)
    result = nothing(one, predictor)
    if not result["message"]:
        folder = work_folder(cohort, work)
        prepared = yield from made_ready(predictor, one, folder)
        result = nothing(prepared.case, predictor)  # its slides may show nothing
    if not result["message"]:
        made_of = recipes(predictor, prepared, request)
        _, result = yield from explained(predictor, prepared, out, request, made_of)
    if result["message"]:  # what stands there is of something else
        withdraw(out)
    yield finished("explain", result)


def check_model(predictor: "Predictor", request: ExplainRequest) -> None:
    """Refuse, before any work, what the model cannot be asked."""
    from napari_harm3.explain.other_maps import check_request

    predictor.check_blind()
    check_request(predictor, request)


def nothing(case: Case, predictor: "Predictor") -> Result:
    """Return the result of a case that is not explained, and why it cannot be."""
    return blank_row(case, predictor) | {
        "maps": {},
        "agreement": {},
        "attention": None,
        "figure": None,
        "message": predictor.refusal(case),
    }


def made_ready(
    predictor: "Predictor", case: Case, work: Path
) -> Generator[Progress, None, "PreparedCase"]:
    """Prepare a case as the model wants it."""
    from napari_harm3.data.prepare import prepared_case

    yield from prepare_case(
        case, inputs=predictor.inputs, work=work, device=predictor.device
    )
    return prepared_case(case, predictor.inputs, work)


def explained(
    predictor: "Predictor",
    prepared: "PreparedCase",
    out: Path,
    request: ExplainRequest,
    made_of: Recipes,
) -> Generator[Progress, None, tuple["AskedCase", Result]]:
    """Explain a case into its folder; return it, and what ``--json`` prints."""
    from napari_harm3.explain.asked import asked_case
    from napari_harm3.report.explanation_writing import Findings, write_explanation

    name = prepared.case.case_id
    yield Progress(stage="explain", step=0, of=2, text=name)
    asked = asked_case(predictor, prepared, request)
    yield Progress(stage="explain", step=1, of=2, text=name)
    if "occlusion" in request.also:
        yield from occluded(asked, out, made_of)
    if "decoupled" in request.also:
        asked.add_halves()
    checks = yield from checked(asked, out, made_of)
    findings = Findings(
        explanation=asked.explanation,
        agreement=asked.yardstick.own(),
        others=asked.others,
        others_agreement=asked.others_agreement(),
        checks=checks,
        about={
            "model": predictor.folder.resolve().name,
            "trained_on": predictor.trained_on,
            "made_up": predictor.made_up,
            "missing": list(prepared.case.missing),
            "threshold": asked.explanation.threshold,
            "request": to_plain(asked.request),
            "key": made_of.whole,
        },
    )
    return asked, write_explanation(out, findings)
