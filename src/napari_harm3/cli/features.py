"""``harm3 features``: turn slides into bags of patch features."""

from dataclasses import dataclass
from pathlib import Path

from napari_harm3.cli.options import SlideOptions
from napari_harm3.cli.show import show
from napari_harm3.cli.tissue import any_failed, slide_lines
from napari_harm3.jobs.slides import extract_features
from napari_harm3.wsi.config import EncoderConfig, TissueConfig


@dataclass(kw_only=True)
class Features(SlideOptions):
    """Write ``<stem>.harm3.h5`` for each slide; a run cut short goes on."""

    encoder: str = EncoderConfig().name
    """Name of a timm vision transformer."""

    weights: Path | None = None
    """Its weights, a file or a folder; without them it is untrained."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def run(self) -> int:
        """Ask the job, show how far it is, print what it made."""
        job = extract_features(
            self.slides,
            out=self.out,
            tissue=TissueConfig(),
            patches=self.patch_config(),
            encoder=EncoderConfig(name=self.encoder, weights=self.weights),
            source_mpp=self.source_mpp,
            device=self.device,
        )
        return show(job, json=self.json, summary=slide_lines, failed=any_failed)
