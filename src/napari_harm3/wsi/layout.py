"""Which patches of a slide are to be encoded, and what its bag says of itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.config import to_plain
from napari_harm3.wsi.config import AnyTissueConfig, PatchConfig
from napari_harm3.wsi.features import (
    DAMAGED,
    FORMAT,
    NOT_DONE,
    VERSION,
    own_attributes,
    write_bag,
)
from napari_harm3.wsi.patch_pixels import lost_patches
from napari_harm3.wsi.patches import Patches, lay_patches, patch_side
from napari_harm3.wsi.slide import Slide
from napari_harm3.wsi.tissue import Tissue, find_tissue


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which patches of an open slide are to be encoded."""

    slide: Slide
    tissue: Tissue
    patches: Patches
    attributes: Mapping[str, Any]
    """What a bag says of itself, whatever the encoder."""

    @property
    def notes(self) -> str:
        """What is odd about the slide or its tissue, in sentences."""
        said = [self.tissue.warning]
        if self.slide.mpp_note:
            said.append(f"{self.slide.name} {self.slide.mpp_note}.")
        if self.tissue.damaged:
            said.append(
                f"{self.tissue.damaged} parts of the overview could not be read, and "
                "tissue there is not seen."
            )
        return " ".join(sentence for sentence in said if sentence)

    @property
    def findings(self) -> dict[str, Any]:
        """What a bag notes beside its attributes; it follows from them."""
        return {
            "tissue_fraction": round(self.tissue.fraction, 6),
            "unseen": self.tissue.damaged,
            "notes": self.notes,
            "created": now(),
        }


def lay_out(slide: Slide, tissue: AnyTissueConfig, patches: PatchConfig) -> Layout:
    """Find a slide's tissue and lay the patches over it.

    Raises
    ------
    SlideError
        If the slide's resolution is not known, or does not suit the patches.
    """
    patch_side(slide, patches)  # what is refused is refused before tissue is sought
    found = find_tissue(slide, tissue)
    return Layout(
        slide=slide,
        tissue=found,
        patches=lay_patches(slide, found, patches),
        attributes=describe(slide, tissue, patches),
    )


def describe(
    slide: Slide, tissue: AnyTissueConfig, patches: PatchConfig
) -> dict[str, Any]:
    """Return the root attributes that do not depend on an encoder."""
    mpp_x, mpp_y = slide.require_mpp()
    return {
        "format": FORMAT,
        "version": VERSION,
        "slide_name": slide.name,
        "slide_fingerprint": slide.fingerprint,
        "width": slide.width,
        "height": slide.height,
        "mpp_x": mpp_x,
        "mpp_y": mpp_y,
        "mpp_source": slide.mpp_source,
        "patch_px": patches.patch,
        "patch_mpp": patches.mpp,
        "patch_level0_px": [
            patches.patch * patches.mpp / mpp for mpp in (mpp_x, mpp_y)
        ],
        "stride": patches.patch,
        "rule": patches.rule,
        "stain": patches.stain,
        "allow_upsampling": patches.allow_upsampling,
        "segmentation": json.dumps(to_plain(tissue), sort_keys=True),
        "reader": f"{slide.reader}/{slide.vendor}",
    }


def is_made(out: Path, attributes: Mapping[str, Any]) -> bool:
    """Return whether a file was made of the same slide in the same way."""
    return agrees(own_attributes(out) or {}, attributes)


def write_layout(layout: Layout, out: Path) -> None:
    """Write the coordinates only; what cannot be read at all is marked already."""
    slide, patches = layout.slide, layout.patches
    lost = lost_patches(slide, patches)
    write_bag(
        out,
        patches,
        status=np.where(lost, DAMAGED, NOT_DONE).astype(np.uint8),
        geometry=layout.tissue.polygons,
        attributes={**layout.attributes, **layout.findings},
    )


def agrees(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether everything wanted stands in what was made."""
    return all(made.get(name) == value for name, value in wanted.items())


def now() -> str:
    """Return the time as a bag notes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
