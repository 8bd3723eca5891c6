"""From a slide laid out to its bag: read, encoded and written, resumably.

Batches are appended to ``<name>.part/`` (raw rows and a JSON journal); the HDF5 file
is made of it in one go and renamed. A kill loses at most one batch.
"""

import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from napari_harm3.artifacts import read_record, write_json
from napari_harm3.errors import SlideError
from napari_harm3.wsi.features import DAMAGED, OK, write_bag
from napari_harm3.wsi.layout import Layout, agrees
from napari_harm3.wsi.patch_pixels import read_patches
from napari_harm3.wsi.patches import Patches, batches
from napari_harm3.wsi.slide import Slide
from napari_harm3.wsi.stain import StainFit, fit_stain, normalised

if TYPE_CHECKING:
    from napari_harm3.wsi.encoder import Encoder

MOST_READERS = 4
"""Threads that decode while the encoder works; each holds one batch."""

STAIN_PATCHES = 64
"""Patches, spread over a slide, that its stain is measured on."""


def extract(layout: Layout, out: Path, encoder: "Encoder") -> Iterator[tuple[int, int]]:
    """Write a slide's bag, yielding patches done and patches in all.

    A damaged patch is marked and never encoded as if it were white.

    Raises
    ------
    SlideError
        If the file changed meanwhile, or none of its patches can be read.
    """
    slide, patches = layout.slide, layout.patches
    attributes = {**layout.attributes, **encoder.attributes}
    folder = out.with_name(out.name + ".part")
    part = _Part(folder, attributes, layout.findings, encoder.dim)
    total = len(patches.coords)
    yield part.rows, total
    if part.rows < total:
        fit = _measured(slide, patches, attributes["stain"])
        for pixels, whole in read_ahead(slide, patches, encoder.batch, part.rows):
            features = np.zeros((len(whole), encoder.dim), np.float32)
            if whole.any():
                stained = pixels if fit is None else normalised(pixels, fit)
                features[whole] = encoder.encode(stained)
            # What was read of another file must not be kept.
            slide.require_unchanged()
            part.append(features, np.where(whole, OK, DAMAGED).astype(np.uint8))
            yield part.rows, total
    features, status = part.read()
    if total and not (status == OK).any():
        part.remove()
        raise SlideError(
            f"{slide.name} is damaged: none of its {total} patches can be read. Copy "
            "it again."
        )
    write_bag(
        out,
        patches,
        status=status,
        geometry=layout.tissue.polygons,
        attributes=part.attributes,
        features=features,
    )
    part.remove()


def read_ahead(
    slide: Slide, patches: Patches, size: int, begin: int
) -> Iterator[tuple[UInt8[np.ndarray, "n size size 3"], Bool[np.ndarray, "m"]]]:
    """Yield batches in order; the next are read while one is encoded.

    No more are held than threads read, so that memory does not grow with a slide.
    """
    # OpenSlide is opened anew after a fault, under the feet of other threads.
    threads = 1 if slide.tiff is None else min(os.cpu_count() or 1, MOST_READERS)
    reading: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for rows in batches(len(patches.coords), size, begin):
                reading.append(pool.submit(read_patches, slide, patches, rows))
                if len(reading) > threads:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _measured(slide: Slide, patches: Patches, method: str) -> StainFit | None:
    """Return the stain of a slide, from patches spread evenly over its tissue."""
    if method == "none":
        return None
    count = len(patches.coords)
    chosen = np.unique(np.linspace(0, count - 1, STAIN_PATCHES).astype(int))
    seen = [
        read_patches(slide, patches, slice(row, row + 1))[0] for row in chosen.tolist()
    ]
    return fit_stain(np.concatenate(seen).reshape(-1, 3), method)


class _Part:
    """The rows done so far of a bag in the making."""

    def __init__(
        self,
        folder: Path,
        attributes: dict[str, Any],
        findings: dict[str, Any],
        dim: int,
    ) -> None:
        self.folder, self.dim = folder, dim
        self.attributes = attributes | findings
        self.rows = 0
        begun = self._begun()
        if begun is not None and agrees(begun["attributes"], attributes):
            self.attributes, self.rows = begun["attributes"], int(begun["rows"])
            self._cut()
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._journal()

    def append(
        self, features: Float[np.ndarray, "n D"], status: UInt8[np.ndarray, "n"]
    ) -> None:
        with (self.folder / "features.raw").open("ab") as stream:
            stream.write(features.astype("<f4").tobytes())
        with (self.folder / "status.raw").open("ab") as stream:
            stream.write(status.tobytes())
        self.rows += len(status)
        self._journal()

    def read(self) -> tuple[Float[np.ndarray, "N D"], UInt8[np.ndarray, "N"]]:
        if not self.rows:
            return np.zeros((0, self.dim), np.float32), np.zeros(0, np.uint8)
        features = np.memmap(self.folder / "features.raw", "<f4", "r")
        return features.reshape(-1, self.dim), np.fromfile(
            self.folder / "status.raw", np.uint8
        )

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _begun(self) -> dict[str, Any] | None:
        try:
            begun = read_record(self.folder / "journal.json")
            sizes = [
                (self.folder / name).stat().st_size if begun["rows"] else 0
                for name in ("features.raw", "status.raw")
            ]
        except (OSError, ValueError, KeyError):
            return None
        whole = sizes[0] >= begun["rows"] * self.dim * 4 and sizes[1] >= begun["rows"]
        return begun if whole else None

    def _cut(self) -> None:
        """Drop rows that were written and not yet journalled."""
        sizes = {"features.raw": self.rows * self.dim * 4, "status.raw": self.rows}
        for name, size in sizes.items():
            path = self.folder / name
            if path.exists():
                with path.open("rb+") as stream:
                    stream.truncate(size)

    def _journal(self) -> None:
        write_json(
            self.folder / "journal.json",
            {"rows": self.rows, "attributes": self.attributes},
        )
