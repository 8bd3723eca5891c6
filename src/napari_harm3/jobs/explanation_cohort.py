"""Explain every case of a cohort, and how far all maps agree with annotations."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.artifacts import read_record, write_json
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import Harm3Error, Stopped, sentence
from napari_harm3.explain.config import ExplainRequest
from napari_harm3.jobs.cohort import work_folder
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.explanation import (
    check_model,
    explained,
    made_ready,
    nothing,
)
from napari_harm3.jobs.explanation_parts import recipes
from napari_harm3.jobs.prediction import origin_warning
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.report.explanation_folder import read_result, withdraw

if TYPE_CHECKING:
    from napari_harm3.data.prepare import PreparedCase
    from napari_harm3.inference.predictor import Predictor

MEASURED = "measured.json"
"""What a case has to say in the cohort's tables; written last."""

Result = dict[str, Any]


def explain_cohort(
    model: Path,
    *,
    cohort: Path,
    out: Path,
    request: ExplainRequest | None = None,
    work: Path | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Explain every case of a cohort, and how far all maps agree with annotations.

    Each case has a folder of its own; ``agreement.csv`` has a row for each map, volume
    and label, ``agreement-summary.csv`` means, intervals and strata, and
    ``agreement-against.csv`` by how much the model's map beats each baseline. One case
    that fails never stops the rest. Asked again, finished cases are kept.
    """
    from napari_harm3.explain.record import cohort_rows
    from napari_harm3.inference.predictor import Predictor
    from napari_harm3.report.cohort_agreement import write_cohort_agreement

    request, work = request or ExplainRequest(), work_folder(cohort, work)
    cases = read_cohort(cohort, allow_external=allow_external).cases
    predictor = Predictor.load(model, resolve_device(device))
    check_model(predictor, request)
    yield from origin_warning(predictor)
    told: list[Result] = []
    records: list[Result] = []
    for number, one in enumerate(cases, start=1):
        folder, found = out / one.case_id, nothing(one, predictor)
        try:
            if not found["message"]:
                prepared = yield from made_ready(predictor, one, work)
                found = nothing(prepared.case, predictor)  # its slides may show nothing
            if found["message"]:  # what stands there is of something else
                withdraw(folder)
                (folder / MEASURED).unlink(missing_ok=True)
            else:
                found, record = yield from _measured(
                    predictor, prepared, folder, request
                )
                records.append(record)
        except Stopped:
            raise
        except (Harm3Error, OSError) as error:  # one bad case never stops the rest
            found["message"] = sentence(error)
        told.append(found)
        yield Progress(stage="cases", step=number, of=len(cases), text=one.case_id)
    yield Progress(stage="agreement", step=0, of=1)
    files = {}
    if records:  # tables of nothing would take the place of earlier ones
        files = write_cohort_agreement(
            out,
            cohort_rows(records),
            trained_on=predictor.trained_on,
            made_up=predictor.made_up,
        )
    result = {
        "cases": told,
        **files,
        "failed": [row["case_id"] for row in told if row["probability"] is None],
    }
    write_json(out / "summary.json", _named_from(out, result))
    yield finished("explain", result)


def _measured(
    predictor: "Predictor",
    prepared: "PreparedCase",
    out: Path,
    request: ExplainRequest,
) -> Generator[Progress, None, tuple[Result, Result]]:
    """Return a case's result and record; those made of the same are kept."""
    from napari_harm3.explain.record import record_of

    made_of = recipes(predictor, prepared, request)
    record, result = read_record(out / MEASURED), read_result(out)
    keys = {record.get("key"), (result or {}).get("key")}
    if result is None or keys != {made_of.whole}:
        asked, result = yield from explained(predictor, prepared, out, request, made_of)
        record = {"key": made_of.whole} | record_of(asked)
        write_json(out / MEASURED, record)
    # The table may have changed what is not asked of the files.
    case = prepared.case
    return result, record | {"pcr": case.pcr, "patient": case.patient}


def _named_from(folder: Path, told: Any) -> Any:
    """Return a result that may be given away: its files are named from a folder on."""
    if isinstance(told, dict):
        return {name: _named_from(folder, value) for name, value in told.items()}
    if isinstance(told, list):
        return [_named_from(folder, value) for value in told]
    if isinstance(told, str) and told.startswith(f"{folder.resolve()}{os.sep}"):
        return Path(told).relative_to(folder.resolve()).as_posix()
    return told
