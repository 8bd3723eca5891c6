"""``harm3 features``: turn slides into bags of patch features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import show
from napari_harm3.cli.tissue import any_failed, slide_lines
from napari_harm3.jobs.slides import extract_features
from napari_harm3.wsi.config import EncoderConfig, PatchConfig, TissueConfig


@dataclass(kw_only=True)
class Features(Output):
    """Write ``<stem>.harm3.h5`` for each slide; a run cut short goes on."""

    slides: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Whole-slide images."""

    out: Path
    """Folder to write into."""

    encoder: str = EncoderConfig().name
    """Name of a timm vision transformer."""

    weights: Path | None = None
    """Its weights, a file or a folder; without them it is untrained."""

    patch: int = 224
    """Side of a patch, pixels."""

    mpp: float = 0.5
    """Resolution of the patches, microns per pixel."""

    source_mpp: float | None = None
    """Resolution of the slides themselves, where the file does not state it."""

    allow_upsampling: bool = False
    """Accept slides coarser than the patches by more than 10 %."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def run(self) -> int:
        """Ask the job, show how far it is, print what it made."""
        job = extract_features(
            self.slides,
            out=self.out,
            tissue=TissueConfig(),
            patches=PatchConfig(
                patch=self.patch,
                mpp=self.mpp,
                allow_upsampling=self.allow_upsampling,
            ),
            encoder=EncoderConfig(name=self.encoder, weights=self.weights),
            source_mpp=self.source_mpp,
            device=self.device,
        )
        return show(job, json=self.json, summary=slide_lines, failed=any_failed)
