"""The patch features of a slide, whoever extracted them."""

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.errors import FeatureError
from napari_harm3.wsi.features import OK, Bag, own_attributes, read_own_bag
from napari_harm3.wsi.interchange import read_foreign
from napari_harm3.wsi.resolution import POWER_MPP


def read_bag(path: Path) -> Bag:
    """Return a bag of ours, of CLAM or of TRIDENT, told apart by content.

    Raises
    ------
    FeatureError
        If the file is missing, damaged, unsafe to open, or no bag of features.
    """
    if own_attributes(path) is not None or path.name.endswith(".harm3.h5"):
        return read_own_bag(path)
    bag = read_foreign(path)
    return Bag(
        features=bag.features.astype(np.float32),
        coords=bag.coords,
        status=np.full(len(bag.features), OK, np.uint8),
        attributes=_translated(path.name, bag.attributes),
    )


def read_attributes(path: Path) -> dict[str, Any] | None:
    """Return what is known of a bag as a whole; None if there is no such file yet.

    Raises
    ------
    FeatureError
        If it is no bag of features.
    """
    if not path.exists():
        return None
    own = own_attributes(path)
    if own is not None or path.name.endswith(".harm3.h5"):
        return own
    return _translated(path.name, read_foreign(path).attributes)


def _translated(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two other programs note of patches under our names.

    Raises
    ------
    FeatureError
        If a size or a resolution among it makes no sense.
    """
    about: dict[str, Any] = {"slide_name": str(said["name"])} if "name" in said else {}
    try:
        return about | _sizes(said) | _resolution(said)
    except (TypeError, ValueError, OverflowError) as error:
        raise FeatureError(
            f"{name} notes sizes of its patches that make no sense: extract it again."
        ) from error


def _sizes(said: Mapping[str, Any]) -> dict[str, Any]:
    if "patch_size" not in said:
        return {}
    size = _length(said["patch_size"])
    if "patch_size_level0" in said:
        sides = [_length(said["patch_size_level0"])] * 2
    else:
        shrunk = said.get("downsample", 1.0)
        x, y = shrunk if isinstance(shrunk, list) else (shrunk, shrunk)
        sides = [size * _length(x), size * _length(y)]
    return {"patch_px": int(size), "patch_level0_px": sides}


def _resolution(said: Mapping[str, Any]) -> dict[str, Any]:
    if "mpp" in said:
        mpp = _length(said["mpp"])
    elif "level0_magnification" in said:
        mpp = POWER_MPP / _length(said["level0_magnification"])
    else:
        return {}
    return {"mpp_x": mpp, "mpp_y": mpp}


def _length(value: Any) -> float:
    """Return a positive number; TypeError or ValueError if it is none."""
    length = float(value)
    if not 0 < length < inf:
        raise ValueError(f"{length} is no length")
    return length
