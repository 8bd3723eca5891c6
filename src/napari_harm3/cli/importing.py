"""``harm3 import``: a cohort table of other people's folders."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.importing import (
    import_bids,
    import_dicom,
    import_folders,
    import_nnunet,
)


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
class CopyOptions(ImportOptions):
    """The same, where the files can be used as they are."""

    copy: bool = False
    """Copy the volumes into OUT; they are referred to where they are otherwise."""


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
        return show(job, json=self.json, summary=_summary, failed=_any_failed)


@dataclass(kw_only=True)
class Bids(CopyOptions):
    """Import a BIDS data set: sessions as before and after, ce- T1w as t1."""

    pre: str = ""
    """Label of the session before treatment, where its name does not say."""

    post: str = ""
    """Label of the session after treatment."""

    prefer: tuple[str, ...] = ()
    """Words of names that choose among several files, such as run-2 or acq-fs."""

    mask_of: Literal["", "t1", "t2", "both"] = ""
    """What masks were drawn on, where their names do not say."""

    def run(self) -> int:
        """Write the cohort table."""
        job = import_bids(
            self.source,
            self.out,
            pre=self.pre,
            post=self.post,
            prefer=self.prefer,
            mask_of=self.mask_of,
            copy=self.copy,
            overwrite=self.overwrite,
            name=self.name,
        )
        return show(job, json=self.json, summary=_summary)


@dataclass(kw_only=True)
class Nnunet(CopyOptions):
    """Import a raw nnU-Net data set: channels become volumes, labels masks."""

    channels: Annotated[str, tyro.conf.arg(metavar="ROLE,ROLE,...")] = ""
    """Role of each channel in order, such as t1_pre,t1_post,-; - leaves one out."""

    label_of: Literal["", "pre", "post", "both"] = ""
    """When the labels were drawn, where the channels show both times."""

    clinical: Path | None = None
    """CSV or TSV table of other columns (pcr, age, ...), by case_id or id."""

    def run(self) -> int:
        """Write the cohort table."""
        job = import_nnunet(
            self.source,
            self.out,
            channels=tuple(
                r.strip() for r in self.channels.split(",") if self.channels
            ),
            label_of=self.label_of,
            clinical=self.clinical,
            copy=self.copy,
            overwrite=self.overwrite,
            name=self.name,
        )
        return show(job, json=self.json, summary=_summary)


@dataclass(kw_only=True)
class Folders(CopyOptions):
    """Import a folder whose paths follow templates."""

    template: tuple[str, ...]
    """Templates such as {id}/{time}/{seq}.nii.gz or mask_t2={id}_{time}_mask.nii.gz, or
    a ready one: hnts-mrg, hnts-mrg-registered."""

    words: tuple[str, ...] = ()
    """The folder's own words: WORD=pre, post, t1, t2 or mask."""

    clinical: Path | None = None
    """CSV or TSV table of other columns (pcr, age, ...), by case_id or id."""

    def run(self) -> int:
        """Write the cohort table."""
        job = import_folders(
            self.source,
            self.out,
            template=self.template,
            words=self.words,
            clinical=self.clinical,
            copy=self.copy,
            overwrite=self.overwrite,
            name=self.name,
        )
        return show(job, json=self.json, summary=_summary)


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


def _any_failed(result: Result) -> bool:
    for fault in result["failed"]:
        print(
            f"{fault['case_id']}, {fault['column']}: {fault['message']}",
            file=sys.stderr,
        )
    return bool(result["failed"])


def _summary(result: Result) -> str:
    if result["cohort"] is None:
        return (
            f"{result['cases']} cases proposed: look over {result['proposal']}, then "
            "run again with --proposal"
        )
    return f"{result['cases']} cases: {result['cohort']}"
