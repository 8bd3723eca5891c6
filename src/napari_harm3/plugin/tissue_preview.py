"""Tissue and patches of the slide on screen, found again while a slider moves.

The picture on which tissue is sought is made once a slide; what follows takes a
fraction of a second, in a thread, and only the latest wish is carried out.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]  # per binding

from napari_harm3.errors import Harm3Error
from napari_harm3.wsi.config import AnyTissueConfig, ClamTissueConfig, PatchConfig
from napari_harm3.wsi.contours import outlines
from napari_harm3.wsi.patches import grid, lay_patches, lost_patches, tissue_fractions
from napari_harm3.wsi.pyramid import Overview, overview
from napari_harm3.wsi.slide import Pair, Slide, open_slide
from napari_harm3.wsi.tissue import Tissue, find_tissue, tissue_of

ACCEPTED, DAMAGED, REJECTED = "accepted", "damaged", "rejected"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A slide and how its tissue and patches are to be found."""

    slide: Path
    mpp: float | None
    tissue: AnyTissueConfig
    patches: PatchConfig


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What was found."""

    wish: Wish
    outline: list[Float[np.ndarray, "n 2"]]
    """Closed rings, level-0 x and y."""

    coords: Int64[np.ndarray, "N 2"]
    """Upper left corner of every patch of the grid, level-0 x and y."""

    status: list[str]
    """Of each patch: accepted, damaged or rejected."""

    tissue: UInt8[np.ndarray, "N"]
    """Fraction of each patch in tissue, 0 to 255."""

    level0_px: Pair
    fraction: float
    """Share of the slide that is tissue."""

    warning: str

    def count(self, status: str) -> int:
        """Return how many patches have a status."""
        return self.status.count(status)


class TissuePreview(QObject):
    """Carries out wishes in a thread of its own, the latest first and last."""

    found = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(1)
        self._seen: tuple[Path, float | None, float, Overview] | None = None
        self._slide: Slide | None = None
        self._latest: Wish | None = None

    def ask(self, wish: Wish) -> None:
        """Find tissue and patches; an earlier wish that waits is dropped."""
        self._latest = wish
        self._pool.submit(self._carry_out, wish)

    def close(self) -> None:
        """End the thread and let go of the slide."""
        self._latest = None
        self._pool.shutdown(cancel_futures=True)
        self._forget()

    def _carry_out(self, wish: Wish) -> None:
        if wish is not self._latest:
            return
        try:
            self.found.emit(self._preview(wish))
        except (Harm3Error, OSError) as error:
            self.failed.emit(str(error))

    def _preview(self, wish: Wish) -> Preview:
        slide = self._opened(wish)
        tissue = self._tissue(slide, wish)
        kept = lay_patches(slide, tissue, wish.patches)
        lost = lost_patches(slide, kept)
        rejected = _others(grid(slide.bounds, kept.level0_px), kept.coords)
        beyond = tissue_fractions(tissue, rejected, kept.level0_px)
        return Preview(
            wish=wish,
            outline=[
                ring
                for piece in tissue.contours
                for ring in outlines(piece, tissue.level0_per_pixel)
            ],
            coords=np.concatenate([kept.coords, rejected]),
            status=[
                *np.where(lost, DAMAGED, ACCEPTED).tolist(),
                *[REJECTED] * len(rejected),
            ],
            tissue=np.concatenate([kept.tissue, beyond]),
            level0_px=kept.level0_px,
            fraction=tissue.fraction,
            warning=tissue.warning,
        )

    def _opened(self, wish: Wish) -> Slide:
        same = self._slide is not None and self._slide.path == wish.slide
        if not same or self._seen is None or self._seen[1] != wish.mpp:
            self._forget()
            self._slide = open_slide(wish.slide, source_mpp=wish.mpp)
        assert self._slide is not None
        return self._slide

    def _tissue(self, slide: Slide, wish: Wish) -> Tissue:
        config = wish.tissue
        if isinstance(config, ClamTissueConfig):
            self._seen = None
            return find_tissue(slide, config)
        key = (wish.slide, wish.mpp, config.um_per_pixel)
        if self._seen is None or self._seen[:3] != key:
            self._seen = (*key, overview(slide, config.um_per_pixel))
        picture = self._seen[3]
        return tissue_of(picture.picture, picture.level0_per_pixel, config)

    def _forget(self) -> None:
        if self._slide is not None:
            self._slide.close()
        self._slide, self._seen = None, None


def _others(
    whole: Int64[np.ndarray, "N 2"], kept: Int64[np.ndarray, "n 2"]
) -> Int64[np.ndarray, "m 2"]:
    """Return the patches of a grid that are not among those kept."""
    (x, y), (kept_x, kept_y) = whole.T, kept.T
    return whole[~np.isin(y << 32 | x, kept_y << 32 | kept_x)]
