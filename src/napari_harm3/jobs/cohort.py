"""What a user can ask about a cohort: make one up, check one, prepare one."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import (
    Fault,
    missing_files,
    read_cohort,
    scan_cohort,
)
from napari_harm3.data.config import InputConfig
from napari_harm3.errors import Harm3Error, Stopped, sentence
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.encoders import encoder_for
from napari_harm3.jobs.parallel import each, stopping
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.phantom.config import ImplantConfig, PhantomConfig


def work_folder(cohort: Path, work: Path | None) -> Path:
    """Return where things made once are kept: ``.harm3`` beside the table."""
    return work or cohort.parent / ".harm3"


def make_phantom(
    out: Path, *, config: PhantomConfig | ImplantConfig, workers: int = 1
) -> Job:
    """Make up a cohort in real file formats; finished cases are kept.

    Raises
    ------
    CohortError, VolumeError, SlideError
        If the folder is none, or holds another cohort; if the files that lesions are
        implanted in, or taken from, cannot serve.
    """
    from napari_harm3.phantom.case_folder import case_name, check_own

    indices = list(range(config.cases))
    if isinstance(config, ImplantConfig):
        from napari_harm3.phantom.real_cohort import (
            NAME,
            PREFIX,
            finish_implanted,
            make_implanted,
            survey,
        )

        check_own(out, name=NAME, cases=[case_name(PREFIX, n) for n in indices])
        yield Progress(stage="survey", text=config.anatomy.name)
        sources = survey(config)
        for note in sources.notes:
            yield Progress(stage="survey", warning=note)
        make = partial(make_implanted, out, config, sources)
        finish = partial(finish_implanted, out, config)
    else:
        from napari_harm3.phantom.cohort import NAME, PREFIX, finish_cohort, make_case

        check_own(out, name=NAME, cases=[case_name(PREFIX, n) for n in indices])
        make = partial(make_case, out, config)
        finish = partial(finish_cohort, out, config)
    for done, (_, case_id) in enumerate(each(make, indices, workers=workers), start=1):
        yield Progress(stage="cohort", step=done, of=len(indices), text=str(case_id))
    table = finish()
    yield finished("cohort", {"cohort": str(table.resolve()), "cases": len(indices)})


def check_cohort(
    cohort: Path, *, quick: bool = False, allow_external: bool = False
) -> Job:
    """Find every fault of a cohort: its table, and every file that it names."""
    from napari_harm3.data.checks import case_faults

    table, faults = scan_cohort(cohort, allow_external=allow_external)
    absent = missing_files(table)
    known = {(fault.row, fault.column) for fault in chain(faults, absent)}
    faults += absent
    for done, case in enumerate(table.cases, start=1):
        found = case_faults(case, quick=quick)
        faults += [f for f in found if (f.row, f.column) not in known]
        yield Progress(stage="check", step=done, of=len(table.cases), text=case.case_id)
    for warning in table.warnings:
        yield Progress(stage="check", warning=_sentence(warning))
    faults.sort(key=lambda fault: (fault.row or 0, fault.column or ""))
    result = {
        "cases": len(table.cases),
        "faults": [asdict(fault) for fault in faults],
        "warnings": [asdict(warning) for warning in table.warnings],
    }
    yield finished("check", result)


def _sentence(fault: Fault) -> str:
    row = "the table" if fault.row is None else f"row {fault.row}"
    column = "" if fault.column is None else f", {fault.column}"
    return f"{row}{column}: {fault.message}"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What became of one case."""

    case_id: str
    volumes: int = 0
    slides: int = 0
    failed: tuple[dict[str, Any], ...] = ()
    warnings: tuple[dict[str, Any], ...] = ()
    """What is worth knowing of what was done: rows as those of ``failed``."""


def prepare_cohort(
    cohort: Path,
    *,
    inputs: InputConfig,
    work: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    device: str = "auto",
    allow_external: bool = False,
) -> Job:
    """Turn every volume and slide of a cohort into tensors, once.

    One case that fails never stops the others; its faults stand in the result.
    """
    table = read_cohort(cohort, allow_external=allow_external)
    yield from prepare_cases(
        table.cases,
        inputs=inputs,
        work=work_folder(cohort, work),
        workers=workers,
        scheduler=scheduler,
        device=device,
    )


def prepare_cases(
    cases: Sequence[Case],
    *,
    inputs: InputConfig,
    work: Path,
    workers: int = 1,
    scheduler: str | None = None,
    device: str = "auto",
) -> Job:
    """Turn every volume and slide that some cases name into tensors, once."""
    prepare = partial(prepare_one, inputs=inputs, work=work, device=device)
    resolve_device(device)
    done: list[Preparation] = []
    for case, outcome in each(
        prepare, cases, workers=workers, scheduler=scheduler, lost=_lost
    ):
        done.append(outcome)
        yield Progress(
            stage="prepare", step=len(done), of=len(cases), text=case.case_id
        )
        for fault in outcome.warnings:
            text = f"{case.case_id}, {fault['column']}: {fault['message']}"
            yield Progress(stage="prepare", warning=text)
    row = {case.case_id: case.row for case in cases}
    done.sort(key=lambda outcome: row[outcome.case_id])
    result = {
        "volumes": sum(outcome.volumes for outcome in done),
        "slides": sum(outcome.slides for outcome in done),
        "failed": [fault for outcome in done for fault in outcome.failed],
        "warnings": [fault for outcome in done for fault in outcome.warnings],
    }
    yield finished("prepare", result)


def _lost(case: Case, error: Exception | None) -> Preparation:
    """Return the failure of a case that took its process down, or met a bug there."""
    message = (
        "Its files took down the process that read them, by damage or size: check "
        "them with `harm3 doctor`, or use fewer --workers."
        if error is None
        else sentence(error)
    )
    fault = {"case_id": case.case_id, "column": None, "message": message}
    return Preparation(case_id=case.case_id, failed=(fault,))


def prepare_one(
    case: Case, *, inputs: InputConfig, work: Path, device: str
) -> Preparation:
    """Prepare one case; what fails is told by column, and the rest is done."""
    from napari_harm3.data.prepare import prepare_masks, prepare_mri, warnings_of
    from napari_harm3.data.slides import prepare_slides

    failed: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []
    volumes = slides = 0
    try:
        made = prepare_mri(case, inputs.mri, work, stopped=stopping)
        if made is not None:
            volumes = len(case.volumes)
            warnings += _told(case, warnings_of(made), "")
    except (Harm3Error, OSError) as error:
        failed += _located(case, error, tuple(case.volumes))
    try:
        masks = prepare_masks(case, inputs.mri, work) if volumes else None
        if masks is not None:
            warnings += _told(case, warnings_of(masks), "mask_")
    except (Harm3Error, OSError) as error:
        failed += _located(case, error, tuple(f"mask_{role}" for role in case.masks))
    try:
        if case.slides:
            for _ in prepare_slides(
                case, inputs, work, encoder_for(inputs.encoder, device)
            ):
                pass
            slides = len(case.slides)
    except (Harm3Error, OSError) as error:
        failed += _located(case, error, ("wsi",))
    return Preparation(
        case_id=case.case_id,
        volumes=volumes,
        slides=slides,
        failed=tuple(failed),
        warnings=tuple(warnings),
    )


def _told(case: Case, messages: dict[str, str], prefix: str) -> list[dict[str, Any]]:
    return [
        {"case_id": case.case_id, "column": f"{prefix}{role}", "message": message}
        for role, message in messages.items()
    ]


def prepare_case(
    case: Case,
    *,
    inputs: InputConfig,
    work: Path,
    device: str,
    annotations: bool = True,
) -> Iterator[Progress]:
    """Prepare one case, patch by patch; the first fault is raised.

    Without ``annotations`` these are left alone, and so are their faults.
    """
    from napari_harm3.data.prepare import prepare_masks, prepare_mri
    from napari_harm3.data.slides import prepare_slides

    yield Progress(stage="volumes", step=0, of=1, text=case.case_id)
    prepare_mri(case, inputs.mri, work, stopped=stopping)
    if annotations:
        prepare_masks(case, inputs.mri, work)
    yield Progress(stage="volumes", step=1, of=1, text=case.case_id)
    if case.slides:
        encoder = encoder_for(inputs.encoder, device)
        for done, of in prepare_slides(case, inputs, work, encoder):
            yield Progress(stage="slides", step=done, of=of, text=case.case_id)


def _located(
    case: Case, error: Exception, columns: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return a failure by column: `case_faults` knows which file is to blame."""
    from napari_harm3.data.checks import case_faults

    if isinstance(error, Stopped):  # no file is
        raise error
    faults = [f for f in case_faults(case, quick=False) if f.column in columns]
    if not faults:
        faults = [Fault(case.row, None, sentence(error))]
    return [
        {"case_id": case.case_id, "column": fault.column, "message": fault.message}
        for fault in faults
    ]
