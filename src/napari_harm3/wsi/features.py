"""Bags of patch features on disk: ``<name>.harm3.h5``."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
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
    with new_hdf5(path) as file:
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
        file.create_dataset("geometry", data=np.bytes_(json.dumps(geometry)))
        # What HDF5 keeps in its heap has no checksum, and damaged it hangs or crashes.
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


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file that takes its name when all of it is on the disk.

    Raises
    ------
    OSError
        If the disk is full, and the like.
    """
    with atomic_path(path) as temporary, temporary.open("w+b", buffering=0) as stream:
        disk = _Disk(stream)
        # Before HDF5 1.10 what describes the data had no checksum, only the data.
        with h5py.File(disk, "w", libver="v110") as file:
            yield file
        if disk.error is not None:
            raise disk.error


class _Disk:
    """A file that hides from HDF5 that it cannot be written.

    HDF5 takes the process down when it closes a file after a failed write.
    """

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:  # by which h5py knows a file
        return self._stream.read(size)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: memoryview) -> int:
        buffer[:] = bytes(len(buffer))
        return self._stream.readinto(buffer) or 0

    def write(self, data: memoryview) -> int:
        left = data
        while left and self.error is None:
            try:
                left = left[self._stream.write(left) :]
            except OSError as error:
                self.error = error
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            return self._stream.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size

    def flush(self) -> None:
        self._stream.flush()


def read_own_bag(path: Path) -> Bag:
    """Return a bag of our own; every chunk's checksum is verified.

    Raises
    ------
    FeatureError
        If the file is missing, damaged, or no bag of features.
    """
    try:
        with _opened(path) as file:
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
    _require_rows(path.name, features, coords, status)
    kept = status == OK
    features = features[kept].astype(np.float32)
    if not np.isfinite(features).all():
        raise FeatureError(f"{path.name} holds NaN or infinite features.")
    return Bag(
        features=features, coords=coords[kept], status=status, attributes=attributes
    )


def _require_rows(
    name: str, features: np.ndarray, coords: np.ndarray, status: np.ndarray
) -> None:
    rows = features.shape[:1]
    kinds = features.dtype.kind, coords.dtype.kind, status.dtype.kind
    if features.ndim != 2 or not features.shape[1] or kinds != ("f", "i", "u"):
        raise FeatureError(
            f"{name} holds no rows of features with whole coordinates and a status: "
            "extract it again."
        )
    if coords.shape != (*rows, 2) or status.shape != rows:
        raise FeatureError(
            f"{name}: coordinates and features differ in number: extract it again."
        )


def own_attributes(path: Path) -> dict[str, Any] | None:
    """Return the root attributes of a bag of our own; None if it is no such file."""
    try:
        with _opened(path) as file:
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
        with _opened(path) as file:
            status = np.asarray(stored(path.name, file, "status")[()])
            attributes = plain_attributes(file.attrs)
        return attributes | {
            "mpp": [attributes["mpp_x"], attributes["mpp_y"]],
            "patches": len(status),
            "damaged": int((status == DAMAGED).sum()),
            "dim": dim,
        }
    except UNREADABLE as error:
        raise FeatureError(f"{path.name} is damaged: make it again.") from error


def is_sound(path: Path) -> bool:
    """Return whether a bag can be read whole, its features too if it has any."""
    try:
        if has_features(path):
            read_own_bag(path)
        with _opened(path) as file:
            for key in ("coords", "status", "tissue"):
                stored(path.name, file, key)[()]
    except (FeatureError, *UNREADABLE):
        return False
    return True


def has_features(path: Path) -> bool:
    """Return whether a file holds features, not coordinates only."""
    try:
        with _opened(path) as file:
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
    plain = {name: np.asarray(value).tolist() for name, value in attributes.items()}
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in plain.items()
    }


def _opened(path: Path) -> h5py.File:
    if not path.is_file():  # HDF5 would wait for a pipe
        raise FileNotFoundError(path.name)
    return h5py.File(path, "r")


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
