"""The patch features of a slide, whoever extracted them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.wsi.features import OK, Bag, own_attributes, read_own_bag
from napari_harm3.wsi.interchange import ForeignBag, read_foreign

FEATURE_SUFFIXES = (".h5", ".pt")


def read_bag(path: Path) -> Bag:
    """Return a bag of ours, of CLAM or of TRIDENT, told apart by content.

    Raises
    ------
    FeatureError
        If the file is missing, damaged, unsafe to open, or no bag of features.
    """
    if own_attributes(path) is not None or path.name.endswith(".harm3.h5"):
        return read_own_bag(path)
    return _as_own(read_foreign(path))


def read_attributes(path: Path) -> dict[str, Any] | None:
    """Return what is known of a bag as a whole; None if there is no such file yet."""
    if not path.exists():
        return None
    own = own_attributes(path)
    if own is not None or path.name.endswith(".harm3.h5"):
        return own
    return _translated(read_foreign(path).attributes)


def _as_own(bag: ForeignBag) -> Bag:
    return Bag(
        features=bag.features.astype(np.float32),
        coords=bag.coords,
        status=np.full(len(bag.features), OK, np.uint8),
        attributes=_translated(bag.attributes),
    )


def _translated(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two other programs note of patches under our names."""
    about: dict[str, Any] = {}
    if "name" in said:
        about["slide_name"] = str(said["name"])
    if "patch_size" in said:
        about["patch_px"] = int(said["patch_size"])
        shrunk = said.get("downsample", [1.0, 1.0])
        side = said.get("patch_size_level0")
        about["patch_level0_px"] = [
            float(side or about["patch_px"] * factor)
            for factor in (shrunk if isinstance(shrunk, list) else [shrunk] * 2)
        ]
    return about
