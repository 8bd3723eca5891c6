"""``harm3 features``: turn slides into bags of patch features."""

from dataclasses import dataclass
from pathlib import Path

from napari_harm3.cli.options import SlideOptions
from napari_harm3.cli.show import show
from napari_harm3.cli.tissue import any_failed, slide_lines
from napari_harm3.config import changed
from napari_harm3.jobs.slides import Program, extract_features
from napari_harm3.wsi.config import (
    PRESETS,
    EncoderConfig,
    PatchConfig,
    Precision,
    Stain,
)


@dataclass(kw_only=True)
class Features(SlideOptions):
    """Write ``<stem>.harm3.h5`` for each slide; a run cut short goes on."""

    encoder: str = EncoderConfig().name
    """Name of a timm vision transformer."""

    weights: Path | None = None
    """Its weights, a file or a folder; without them it is untrained."""

    pretrained: bool = False
    """Download the encoder's own weights from the hub."""

    batch: int = EncoderConfig().batch
    """Patches encoded at once."""

    precision: Precision = EncoderConfig().precision
    """Numbers that the encoder calculates with; auto probes a GPU."""

    stain: Stain = PatchConfig().stain
    """How colours are brought to one reference, measured once a slide."""

    also: tuple[Program, ...] = ()
    """Write the bags for these programs too, into folders of theirs under --out."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def run(self) -> int:
        """Ask the job, show how far it is, print what it made."""
        job = extract_features(
            self.slides,
            out=self.out,
            tissue=PRESETS[self.preset],
            patches=self.patch_config(self.stain),
            encoder=changed(
                EncoderConfig(),
                name=self.encoder,
                weights=self.weights,
                pretrained=self.pretrained,
                batch=self.batch,
                precision=self.precision,
            ),
            also=self.also,
            source_mpp=self.source_mpp,
            device=self.device,
            workers=self.workers,
            scheduler=self.scheduler,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=slide_lines, failed=any_failed)
