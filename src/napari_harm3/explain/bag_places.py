"""Where the patches of a case lie, read from its bags."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.files import unique_names


def patch_places(bags: Sequence[Path]) -> PatchPlaces:
    """Return where the patches of some bags lie, in the order of the bag.

    Raises
    ------
    FeatureError
        If a file is missing or damaged.
    """
    unknown = np.full(2, np.nan)
    names, counts, corners, sides, sizes, mpp = [], [], [np.zeros((0, 2))], [], [], []
    for path in bags:
        bag = read_bag(path)
        about, count = bag.attributes, len(bag.features)
        names.append(str(about.get("slide_name") or path.name))
        counts.append(count)
        corners.append(
            np.full((count, 2), np.nan) if bag.coords is None else bag.coords
        )
        square = about.get("patch_px", np.nan)
        sides.append(about.get("patch_level0_px", (square, square)))
        sizes.append([about.get(name, np.nan) for name in ("width", "height")])
        mpp.append([about.get(name, np.nan) for name in ("mpp_x", "mpp_y")])
    return PatchPlaces(
        names=unique_names(names),
        slide=np.repeat(np.arange(len(names)), counts),
        corners=np.concatenate(corners).astype(float),
        sides=np.array([*sides, unknown], float)[:-1],
        sizes=np.array([*sizes, unknown], float)[:-1],
        mpp=np.array([*mpp, unknown], float)[:-1],
    )
