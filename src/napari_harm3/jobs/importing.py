"""What a user can ask about other people's folders: make a cohort table of them."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.cohort.importers.config import (
    BidsOptions,
    FileOptions,
    FolderOptions,
    NnunetOptions,
)
from napari_harm3.errors import CohortError
from napari_harm3.jobs.progress import Job, Progress, finished

if TYPE_CHECKING:
    from napari_harm3.cohort.importers.found import Found
    from napari_harm3.cohort.importers.listing import Listing, Row

STAGE, PROPOSAL = "import", "proposal.csv"


def import_files(
    source: Path,
    out: Path,
    options: FileOptions,
    *,
    copy: bool = False,
    overwrite: bool = False,
    name: str = "",
) -> Job:
    """Make a cohort table of a BIDS or nnU-Net data set, or of any orderly folder.

    The files are referred to where they are, or copied if asked.
    """
    from napari_harm3.cohort.importers.layout import (
        copy_files,
        external_note,
        refuse_table,
        write_table,
    )

    _check_source(source)
    refuse_table(out, overwrite=overwrite)
    yield Progress(stage=STAGE, text=source.name)
    listing = _listed(source, options)
    for note in listing.notes:
        yield Progress(stage=STAGE, warning=note)
    cases = len(listing.rows)
    if copy:
        rows: list[Row] = []
        for case_id, row in copy_files(listing, out):
            rows.append(row)
            yield Progress(stage=STAGE, step=len(rows), of=cases, text=case_id)
        listing = replace(listing, rows=rows)
    table = write_table(out, replace(listing, name=name or listing.name))
    outside = external_note(table)
    if outside:
        yield Progress(stage=STAGE, warning=outside)
    yield finished(STAGE, {"cohort": str(table.resolve()), "cases": cases})


def import_dicom(
    source: Path,
    out: Path,
    *,
    proposal: Path | None = None,
    accept: bool = False,
    keep_dates: bool = False,
    overwrite: bool = False,
    name: str = "",
) -> Job:
    """Propose which DICOM series is which, or convert them as proposed.

    The first run writes ``OUT/proposal.csv`` for a person to edit; a second one that
    is given it, or one that accepts at once, writes NIfTI files and the table.
    Volumes that are finished are kept.
    """
    from napari_harm3.cohort.importers.layout import refuse_existing, refuse_table

    _check_source(source)
    if proposal is None:
        refuse_existing(out / PROPOSAL, overwrite=overwrite)
    if accept or proposal is not None:
        refuse_table(out, overwrite=overwrite)
    found = yield from _found(source, out, proposal, keep_dates=keep_dates)
    cases = sorted({one.case_id for one in found if one.roles})
    result: dict[str, Any] = {
        "cohort": None,
        "cases": len(cases),
        "proposal": str((proposal or out / PROPOSAL).resolve()),
        "failed": [],
    }
    if proposal is not None or accept:
        if not cases:
            raise CohortError(
                f"No series of {source.name} has a role: fill the column 'role' of "
                f"{PROPOSAL} and give it with --proposal."
            )
        result |= yield from _converted(
            found, cases, out, keep_dates=keep_dates, name=name
        )
    yield finished(STAGE, result)


def _found(
    source: Path, out: Path, proposal: Path | None, *, keep_dates: bool
) -> Generator[Progress, None, "list[Found]"]:
    """Return all series, with the roles that a proposal says or a new one proposes."""
    from napari_harm3.cohort.importers.choice import propose
    from napari_harm3.cohort.importers.conversion import list_all
    from napari_harm3.cohort.importers.dicom import (
        apply_proposal,
        mismatches,
        write_proposal,
    )
    from napari_harm3.cohort.importers.found import find_series

    yield Progress(stage="series", text=source.name)
    found = find_series(list_all(source), source)
    if proposal is None:
        propose(found)
        write_proposal(out / PROPOSAL, found, keep_dates=keep_dates)
    else:
        found = apply_proposal(proposal, found)
    for warning in mismatches(found):
        yield Progress(stage=STAGE, warning=warning)
    return found


def _converted(
    found: "Sequence[Found]",
    cases: Sequence[str],
    out: Path,
    *,
    keep_dates: bool,
    name: str,
) -> Generator[Progress, None, dict[str, Any]]:
    """Convert cases and write their table; return where it is, and what failed."""
    from napari_harm3.cohort.importers.conversion import Converted, convert_case
    from napari_harm3.cohort.importers.layout import write_table
    from napari_harm3.cohort.importers.listing import Listing

    done: list[Converted] = []
    for case_id in cases:
        yield Progress(stage=STAGE, step=len(done), of=len(cases), text=case_id)
        members = [one for one in found if one.case_id == case_id]
        done.append(convert_case(members, out, keep_dates=keep_dates))
    failed = [fault for case in done for fault in case.failed]
    rows = [case.row for case in done if not case.empty]
    if not rows:  # a table without cases would only be in the way of the next run
        return {"cases": 0, "failed": failed}
    title = name or out.resolve().name
    listing = Listing(rows=rows, name=title)
    table = write_table(out, listing, deidentified=not keep_dates)
    return {"cohort": str(table.resolve()), "cases": len(rows), "failed": failed}


def _listed(source: Path, options: FileOptions) -> "Listing":
    from napari_harm3.cohort.importers.bids import list_bids
    from napari_harm3.cohort.importers.folders import list_folders
    from napari_harm3.cohort.importers.nnunet import list_nnunet

    match options:
        case BidsOptions():
            return list_bids(source, options)
        case NnunetOptions():
            return list_nnunet(source, options)
        case FolderOptions():
            return list_folders(source, options)


def _check_source(source: Path) -> None:
    if not source.is_dir():
        raise CohortError(f"{source.name} is no folder: give the folder to import.")
