"""Tissue and patches of the slide on screen, found again while a slider moves.

The picture on which tissue is sought is made once a slide; what follows takes a
fraction of a second, in a thread, and only the latest wish is carried out.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]  # per binding

from napari_harm3.errors import Harm3Error, sentence
from napari_harm3.plugin.slide_view import ACCEPTED, DAMAGED, REJECTED, tell_bug
from napari_harm3.wsi.config import AnyTissueConfig, ClamTissueConfig, PatchConfig
from napari_harm3.wsi.contours import outlines
from napari_harm3.wsi.patch_pixels import lost_patches
from napari_harm3.wsi.patches import grid, lay_patches, tissue_fractions
from napari_harm3.wsi.pyramid import Overview, overview
from napari_harm3.wsi.slide import Pair, Slide, open_slide
from napari_harm3.wsi.tissue import Tissue, find_tissue, tissue_of

Rings = list[Float[np.ndarray, "n 2"]]
"""Closed outlines, level-0 x and y."""


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
    outline: Rings
    coords: Int64[np.ndarray, "N 2"]
    """Upper left corner of every patch, level-0 x and y; the same while only the
    tissue changes."""

    status: UInt8[np.ndarray, "N"]
    """Number of each patch's status in `slide_view.STATUSES`."""

    tissue: UInt8[np.ndarray, "N"]
    """Fraction of each patch in tissue, 0 to 255."""

    level0_px: Pair
    fraction: float
    """Share of the slide that is tissue."""

    warning: str

    def count(self, status: int) -> int:
        """Return how many patches have a status."""
        return int((self.status == status).sum())


class TissuePreview(QObject):
    """Carries out wishes in a thread of its own, the latest first and last."""

    outlined = Signal(object, object)
    """The wish and its outline, before the patches are laid."""

    found = Signal(object)
    failed = Signal(object, str)
    """The wish and what is wrong."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(1)
        self._seen: tuple[Path, float | None, float, Overview] | None = None
        self._slide: Slide | None = None
        self._latest: Wish | None = None

    def ask(self, wish: Wish) -> None:
        """Find tissue and patches; an earlier wish that waits is dropped."""
        self._latest = wish
        done = self._pool.submit(self._carry_out, wish)
        done.add_done_callback(partial(tell_bug, "The preview"))

    def close(self) -> None:
        """End the thread and let go of the slide."""
        self._latest = None
        self._pool.shutdown(cancel_futures=True)
        self._forget()

    def _carry_out(self, wish: Wish) -> None:
        if wish is not self._latest:
            return
        try:
            slide = self._opened(wish)
            tissue = self._tissue(slide, wish)
            outline = [
                ring
                for piece in tissue.contours
                for ring in outlines(piece, tissue.level0_per_pixel)
            ]
            self.outlined.emit(wish, outline)
            if wish is self._latest:
                self.found.emit(_preview(wish, slide, tissue, outline))
        except (Harm3Error, OSError) as error:
            self.failed.emit(wish, sentence(error, wish.slide.name))

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


def _preview(wish: Wish, slide: Slide, tissue: Tissue, outline: Rings) -> Preview:
    kept = lay_patches(slide, tissue, wish.patches)
    lost = lost_patches(slide, kept)
    whole = grid(slide.bounds, kept.level0_px)
    # CLAM's patches are not of the grid, and stand behind it.
    place, of_grid = _places(whole, kept.coords)
    found = np.where(lost, DAMAGED, ACCEPTED).astype(np.uint8)
    status = np.full(len(whole), REJECTED, np.uint8)
    status[place[of_grid]] = found[of_grid]
    coords = np.concatenate([whole, kept.coords[~of_grid]])
    return Preview(
        wish=wish,
        outline=outline,
        coords=coords,
        status=np.concatenate([status, found[~of_grid]]),
        tissue=tissue_fractions(tissue, coords, kept.level0_px),
        level0_px=kept.level0_px,
        fraction=tissue.fraction,
        warning=tissue.warning,
    )


def _places(
    whole: Int64[np.ndarray, "N 2"], kept: Int64[np.ndarray, "n 2"]
) -> tuple[Int64[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Return where patches stand in a grid that runs row by row, and if they do."""
    (x, y), (kept_x, kept_y) = whole.T, kept.T
    keys, wanted = y << 32 | x, kept_y << 32 | kept_x
    place = np.searchsorted(keys, wanted)
    of_grid = np.zeros(len(kept), dtype=bool)
    inside = place < len(keys)
    of_grid[inside] = keys[place[inside]] == wanted[inside]
    return place, of_grid
