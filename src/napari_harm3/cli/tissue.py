"""``harm3 tissue``: outline the tissue of slides and lay the patch grid."""

from dataclasses import dataclass
from pathlib import Path

from napari_harm3.cli.options import SlideOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.slides import find_tissue
from napari_harm3.wsi.config import PRESETS


@dataclass(kw_only=True)
class Tissue(SlideOptions):
    """Write outline, mask and patch grid of each slide."""

    def run(self) -> int:
        """Ask the job, show how far it is, print what it made."""
        job = find_tissue(
            self.slides,
            out=self.out,
            tissue=PRESETS[self.preset],
            patches=self.patch_config(),
            source_mpp=self.source_mpp,
            workers=self.workers,
            scheduler=self.scheduler,
            allow_external=self.allow_external,
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
