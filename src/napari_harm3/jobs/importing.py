"""What a user can ask about other people's folders: make a cohort table of them."""

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
    from napari_harm3.cohort.importers.listing import Listing

STAGE = "import"


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
        for done, (case_id, copied) in enumerate(copy_files(listing, out), start=1):
            yield Progress(stage=STAGE, step=done, of=cases, text=case_id)
            listing = copied if done == cases else listing
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
    from napari_harm3.cohort.importers.conversion import (
        Converted,
        convert_case,
        list_all,
    )
    from napari_harm3.cohort.importers.dicom import (
        apply_proposal,
        find_series,
        mismatches,
        propose,
        write_proposal,
    )
    from napari_harm3.cohort.importers.layout import (
        refuse_existing,
        refuse_table,
        write_table,
    )
    from napari_harm3.cohort.importers.listing import Listing

    _check_source(source)
    proposed = out / "proposal.csv"
    if proposal is None:
        refuse_existing(proposed, overwrite=overwrite)
    if accept or proposal is not None:
        refuse_table(out, overwrite=overwrite)
    yield Progress(stage="series", text=source.name)
    found = find_series(list_all(source), source)
    if proposal is None:
        propose(found)
        write_proposal(proposed, found, keep_dates=keep_dates)
    else:
        found = apply_proposal(proposal, found)
    for warning in mismatches(found):
        yield Progress(stage=STAGE, warning=warning)
    cases = sorted({one.case_id for one in found if one.roles})
    result: dict[str, Any] = {
        "cohort": None,
        "cases": len(cases),
        "proposal": str((proposal or proposed).resolve()),
        "failed": [],
    }
    if proposal is None and not accept:
        yield finished(STAGE, result)
        return
    if not cases:
        raise CohortError(
            f"No series of {source.name} has a role: fill the column 'role' of "
            "proposal.csv and give it with --proposal."
        )
    done: list[Converted] = []
    for case_id in cases:
        yield Progress(stage=STAGE, step=len(done), of=len(cases), text=case_id)
        members = [one for one in found if one.case_id == case_id]
        done.append(convert_case(members, out, keep_dates=keep_dates))
    title = name or out.resolve().name
    listing = Listing(rows=[case.row for case in done], name=title)
    table = write_table(out, listing, deidentified=not keep_dates)
    failed = [fault for case in done for fault in case.failed]
    yield finished(STAGE, result | {"cohort": str(table.resolve()), "failed": failed})


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
