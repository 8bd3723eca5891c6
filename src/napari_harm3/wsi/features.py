"""Bags of patch features on disk: ``<name>.harm3.h5`` (DESIGN, section 9)."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int64, UInt8

from napari_harm3.artifacts import atomic_path
from napari_harm3.errors import FeatureError
from napari_harm3.wsi.patches import Patches

FORMAT, VERSION = "harm3-features", 1
OK, DAMAGED, NOT_DONE = 0, 1, 3
CHUNK_ROWS = 512
IDENTITY = (
    "encoder",
    "weights_sha256",
    "transform",
    "patch_mpp",
    "patch_px",
    "rule",
    "stain",
)
"""What must agree between the features of training and of use."""

UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    EOFError,
    MemoryError,
)
"""What h5py and torch raise on damaged files."""


@dataclass(frozen=True, kw_only=True)
class Bag:
    """The features of one slide."""

    features: Float[np.ndarray, "n D"]
    """Of the patches that could be read, float32."""

    coords: Int64[np.ndarray, "n 2"] | None
    """Level-0 x and y of the same patches; None where nobody noted them."""

    status: UInt8[np.ndarray, "N"]
    """Of all patches: 0 read, 1 damaged, 3 not done."""

    attributes: Mapping[str, Any]


def write_bag(
    path: Path,
    patches: Patches,
    *,
    status: UInt8[np.ndarray, "N"],
    geometry: Mapping[str, Any],
    attributes: Mapping[str, Any],
    features: Float[np.ndarray, "N D"] | None = None,
) -> None:
    """Write a bag, or its coordinates only."""
    checksum = True if len(status) else None  # HDF5 keeps none of an empty dataset
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        coords = file.create_dataset("coords", data=patches.coords, fletcher32=checksum)
        if features is not None:
            file.create_dataset(
                "features",
                data=features,
                chunks=(CHUNK_ROWS, features.shape[1]),
                maxshape=(None, features.shape[1]),
                fletcher32=True,
            )
        file.create_dataset("status", data=status, fletcher32=checksum)
        file.create_dataset("tissue", data=patches.tissue, fletcher32=checksum)
        file.create_dataset("geometry", data=json.dumps(geometry))
        file.attrs.update(attributes)
        # Under these names CLAM and TRIDENT look for them.
        coords.attrs.update(
            {
                "patch_size": attributes["patch_px"],
                "patch_level": 0,
                "patch_size_level0": round(patches.level0_px[0]),
                "level0_width": attributes["width"],
                "level0_height": attributes["height"],
                "overlap": 0,
                "name": Path(str(attributes["slide_name"])).stem,
            }
        )


def read_own_bag(path: Path) -> Bag:
    """Return a bag of our own; every chunk's checksum is verified.

    Raises
    ------
    FeatureError
        If the file is missing, damaged, or no bag of features.
    """
    try:
        with h5py.File(path, "r") as file:
            coords, status = (
                np.asarray(stored(path.name, file, key)[()])
                for key in ("coords", "status")
            )
            if (status == NOT_DONE).any():
                raise FeatureError(
                    f"{path.name} holds coordinates without features: run "
                    "`harm3 features` on its slide."
                )
            features = np.asarray(stored(path.name, file, "features")[()])
            attributes = plain_attributes(file.attrs)
    except UNREADABLE as error:
        raise FeatureError(
            f"{path.name} is damaged or no feature file: extract it again."
        ) from error
    if features.ndim != 2 or not len(features) == len(coords) == len(status):
        raise FeatureError(f"{path.name}: coordinates and features differ in number.")
    kept = status == OK
    features = features[kept].astype(np.float32)
    if not np.isfinite(features).all():
        raise FeatureError(f"{path.name} holds NaN or infinite features.")
    return Bag(
        features=features, coords=coords[kept], status=status, attributes=attributes
    )


def own_attributes(path: Path) -> dict[str, Any] | None:
    """Return the root attributes of a bag of our own; None if it is no such file."""
    try:
        with h5py.File(path, "r") as file:
            attributes = plain_attributes(file.attrs)
    except UNREADABLE:
        return None
    return attributes if attributes.get("format") == FORMAT else None


def bag_summary(path: Path) -> dict[str, Any]:
    """Return a bag's attributes, with how many patches it has and how many are damaged.

    Its features, if it has any, are read whole, so that damage is noticed.

    Raises
    ------
    FeatureError
        If it is missing or damaged.
    """
    dim = read_own_bag(path).features.shape[1] if has_features(path) else None
    try:
        with h5py.File(path, "r") as file:
            status = np.asarray(stored(path.name, file, "status")[()])
            attributes = plain_attributes(file.attrs)
    except UNREADABLE as error:
        raise FeatureError(f"{path.name} is damaged: make it again.") from error
    return attributes | {
        "mpp": [attributes["mpp_x"], attributes["mpp_y"]],
        "patches": len(status),
        "damaged": int((status == DAMAGED).sum()),
        "dim": dim,
    }


def is_sound(path: Path) -> bool:
    """Return whether a bag can be read whole."""
    try:
        read_own_bag(path)
    except FeatureError:
        return False
    return True


def has_features(path: Path) -> bool:
    """Return whether a file holds features, not coordinates only."""
    try:
        with h5py.File(path, "r") as file:
            return "features" in file
    except UNREADABLE:
        return False


def stored(name: str, file: h5py.File, key: str) -> h5py.Dataset:
    """Return a dataset that lies in the file itself, whole.

    Raises
    ------
    FeatureError
        If it is missing, was not finished, or only a link to another file.
    """
    # Asked of the link itself: h5py's `in` and `get` would open what it points to.
    exists = file.id.links.exists(key.encode())
    if exists and _points_elsewhere(file, key):
        raise FeatureError(
            f"{name} only links to its {key}, and links are not followed: copy the "
            "dataset into the file."
        )
    if not exists or not isinstance(file[key], h5py.Dataset):
        raise FeatureError(f"{name} has no dataset '{key}': extract it again.")
    if not _is_written(file[key]):
        raise FeatureError(
            f"{name} was not finished, '{key}' has empty rows: extract it again."
        )
    return file[key]


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as plain numbers, texts and lists."""
    return {name: np.asarray(value).tolist() for name, value in attributes.items()}


def _points_elsewhere(file: h5py.File, key: str) -> bool:
    if file.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
        return True
    found = file[key]
    return isinstance(found, h5py.Dataset) and bool(found.is_virtual or found.external)


def _is_written(dataset: h5py.Dataset) -> bool:
    # HDF5 reads rows that were never written as zeros.
    if dataset.chunks is None:
        return not dataset.size or dataset.id.get_storage_size() > 0
    chunks = (
        math.ceil(length / chunk)
        for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)
    )
    return dataset.id.get_num_chunks() == math.prod(chunks)
