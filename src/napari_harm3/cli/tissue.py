"""``harm3 tissue``: outline the tissue of slides and lay the patch grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.slides import find_tissue
from napari_harm3.wsi.config import PatchConfig, TissueConfig


@dataclass(kw_only=True)
class Tissue(Output):
    """Write outline, mask and patch grid of each slide."""

    slides: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Whole-slide images."""

    out: Path
    """Folder to write into."""

    preset: Literal["harm3"] = "harm3"
    """How tissue is told from glass."""

    rule: Literal["corners_any"] = "corners_any"
    """Which patches count as tissue."""

    patch: int = 224
    """Side of a patch, pixels."""

    mpp: float = 0.5
    """Resolution of the patches, microns per pixel."""

    source_mpp: float | None = None
    """Resolution of the slides themselves, where the file does not state it."""

    allow_upsampling: bool = False
    """Accept slides coarser than the patches by more than 10 %."""

    def run(self) -> int:
        """Ask the job, show how far it is, print what it made."""
        job = find_tissue(
            self.slides,
            out=self.out,
            tissue=TissueConfig(),
            patches=PatchConfig(
                patch=self.patch,
                mpp=self.mpp,
                rule=self.rule,
                allow_upsampling=self.allow_upsampling,
            ),
            source_mpp=self.source_mpp,
        )
        return show(job, json=self.json, summary=slide_lines, failed=any_failed)


def any_failed(result: Result) -> bool:
    """Return whether any slide failed."""
    return any(row["status"] == "failed" for row in result["slides"])


def slide_lines(result: Result) -> str:
    """Return one line a slide."""
    return "\n".join(
        f"{row['status']:<8} {row['patches'] or 0:>7} patches  "
        f"{Path(row['slide']).name}  {row['message']}".rstrip()
        for row in result["slides"]
    )
