"""How fast patches come, and how fast the encoder takes them, on the device at hand.

    python benchmarks/loader_and_encoder.py SLIDE [ENCODER]

Patches at native resolution in batches of 64; the loader uses as many threads as
`extract` does, the encoder the precision that its probe chooses.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.parallel import core_count
from napari_harm3.wsi.config import EncoderConfig, PatchConfig, TissueConfig
from napari_harm3.wsi.encoder import Encoder, load_encoder
from napari_harm3.wsi.extraction import read_ahead
from napari_harm3.wsi.layout import Layout, lay_out
from napari_harm3.wsi.patches import Patches
from napari_harm3.wsi.slide import open_slide

ENCODER = "vit_small_patch16_224"
MOST = {"cpu": 256, "cuda": 12_800}


def main() -> None:
    path = Path(sys.argv[1])
    name = sys.argv[2] if len(sys.argv) > 2 else ENCODER
    device = resolve_device("auto")
    encoder = load_encoder(EncoderConfig(name=name), device)
    with open_slide(path) as slide:
        native = PatchConfig(mpp=slide.require_mpp()[0])
        layout = lay_out(slide, TissueConfig(), native)
        loader = _loader(_first(layout, 12_800), encoder.batch)
        encoded = _encoder(_first(layout, MOST[device.partition(":")[0]]), encoder)
    where = torch.cuda.get_device_name(device) if device != "cpu" else "CPU"
    print(f"{where}, {core_count()} cores, {name} in {encoder.precision}:")
    print(f"loader {loader:.0f}/s, encoder {encoded:.0f}/s: {loader / encoded:.2f}")


def _first(layout: Layout, count: int) -> Layout:
    patches = layout.patches
    few = Patches(
        coords=patches.coords[:count],
        tissue=patches.tissue[:count],
        level0_px=patches.level0_px,
        size=patches.size,
    )
    return replace(layout, patches=few)


def _loader(layout: Layout, batch: int) -> float:
    """Patches a second of wall time, with nobody but the loader at work."""
    started, count = time.monotonic(), 0
    for pixels, _ in read_ahead(layout.slide, layout.patches, batch, 0):
        count += len(pixels)
    return count / (time.monotonic() - started)


def _encoder(layout: Layout, encoder: Encoder) -> float:
    """Patches a second of wall time, the pixels being at hand."""
    batches = [b for b, _ in read_ahead(layout.slide, layout.patches, encoder.batch, 0)]
    encoder.encode(batches[0])
    started = time.monotonic()
    for pixels in batches:
        encoder.encode(pixels)
    return sum(map(len, batches)) / (time.monotonic() - started)


if __name__ == "__main__":
    main()
