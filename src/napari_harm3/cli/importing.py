"""``harm3 import``: a cohort table of other people's folders."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, any_case_failed, show
from napari_harm3.cohort.importers.config import (
    BidsOptions,
    FileOptions,
    FolderOptions,
    NnunetOptions,
)
from napari_harm3.jobs.importing import import_dicom, import_files


@dataclass(kw_only=True)
class ImportOptions(Output):
    """What every import takes."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SRC")]
    """The folder to import."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder for cohort.csv; the table's paths are relative to it."""

    name: str = ""
    """Name of the cohort."""

    overwrite: bool = False
    """Replace a table that is there already."""


@dataclass(kw_only=True)
class Dicom(ImportOptions):
    """Propose which DICOM series is T1 or T2, before or after; then convert them.

    The first run writes OUT/proposal.csv: look it over, edit its column 'role', and
    run again with --proposal OUT/proposal.csv.
    """

    proposal: Path | None = None
    """The edited proposal; NIfTI files and cohort.csv are written by it."""

    accept: bool = False
    """Convert at once, as proposed."""

    keep_dates: bool = False
    """Keep the days of examination; otherwise only days since the first study."""

    def run(self) -> int:
        """Write the proposal, or the cohort."""
        job = import_dicom(
            self.source,
            self.out,
            proposal=self.proposal,
            accept=self.accept,
            keep_dates=self.keep_dates,
            overwrite=self.overwrite,
            name=self.name,
        )
        return show(job, json=self.json, summary=_summary, failed=any_case_failed)


@dataclass(kw_only=True)
class Files(ImportOptions):
    """The same, where the files can be used as they are."""

    copy: bool = False
    """Copy the volumes into OUT; they are referred to where they are otherwise."""

    options: tyro.conf.OmitArgPrefixes[FileOptions]

    def run(self) -> int:
        """Write the cohort table."""
        job = import_files(
            self.source,
            self.out,
            self.options,
            copy=self.copy,
            overwrite=self.overwrite,
            name=self.name,
        )
        return show(job, json=self.json, summary=_summary)


@dataclass(kw_only=True)
class Bids(Files):
    """Import a BIDS data set: sessions as before and after, ce- T1w as t1."""

    options: tyro.conf.OmitArgPrefixes[BidsOptions] = field(default_factory=BidsOptions)


@dataclass(kw_only=True)
class Nnunet(Files):
    """Import a raw nnU-Net data set: channels become volumes, labels masks."""

    options: tyro.conf.OmitArgPrefixes[NnunetOptions] = field(
        default_factory=NnunetOptions
    )


@dataclass(kw_only=True)
class Folders(Files):
    """Import a folder whose paths follow templates."""

    options: tyro.conf.OmitArgPrefixes[FolderOptions]


@dataclass(kw_only=True)
class Import:
    """Make a cohort table of DICOM, BIDS, nnU-Net or any orderly folder."""

    kind: Dicom | Bids | Nnunet | Folders

    @property
    def json(self) -> bool:
        """Whether the result is told as JSON."""
        return self.kind.json

    def run(self) -> int:
        """Import what is asked for."""
        return self.kind.run()


def _summary(result: Result) -> str:
    if result["cohort"] is None and result["failed"]:
        return "no case could be converted"
    if result["cohort"] is None:
        return (
            f"{result['cases']} cases proposed: look over {result['proposal']}, then "
            "run again with --proposal"
        )
    return f"{result['cases']} cases: {result['cohort']}"
