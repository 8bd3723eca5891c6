"""What settles what the names of other people's files leave open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BidsOptions:
    """How a BIDS data set is read."""

    pre: str = ""
    """Label of the session before treatment, where its name does not say."""

    post: str = ""
    """Label of the session after treatment."""

    prefer: tuple[str, ...] = ()
    """Words of names that choose among several files, such as run-2 or acq-fs."""

    mask_of: Literal["", "t1", "t2", "both"] = ""
    """What masks were drawn on, where their names do not say."""


@dataclass(frozen=True, kw_only=True)
class NnunetOptions:
    """How a raw nnU-Net data set is read."""

    channels: str = ""
    """Role of each channel in order, such as t1_pre,t1_post,-; - leaves one out."""

    label_of: Literal["", "pre", "post", "both"] = ""
    """When the labels were drawn, where the channels show both times."""

    clinical: Path | None = None
    """CSV or TSV table of other columns (pcr, age, ...), by case_id or id."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How the paths of a folder are read."""

    template: tuple[str, ...]
    """Templates such as {id}/{time}/{seq}.nii.gz or mask_t2={id}_{time}_mask.nii.gz, or
    a ready one: hnts-mrg, hnts-mrg-registered."""

    words: tuple[str, ...] = ()
    """The folder's own words: WORD=pre, post, t1, t2 or mask."""

    clinical: Path | None = None
    """CSV or TSV table of other columns (pcr, age, ...), by case_id or id."""


FileOptions = BidsOptions | NnunetOptions | FolderOptions
