"""Bags of CLAM and TRIDENT, read and written bit for bit.

Both keep ``/features`` and ``/coords`` in one HDF5 file, with what is known of the
patches as attributes of ``/coords``; CLAM also keeps the features alone, as a tensor
in a ``.pt`` file. Where a file once lay on somebody's disk is neither kept nor written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from pickle import UnpicklingError
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int64

from napari_harm3.artifacts import atomic_path
from napari_harm3.errors import FeatureError
from napari_harm3.wsi.features import (
    FORMAT,
    UNREADABLE,
    Bag,
    new_hdf5,
    plain_attributes,
    read_own_bag,
    stored,
)
from napari_harm3.wsi.resolution import POWER_MPP

CLAM_CHUNK_ROWS, TRIDENT_CHUNK_ROWS = 512, 1
DTYPES = (np.dtype(np.float16), np.dtype(np.float32))
FOLDERS = ("save_path", "savetodir")
"""Under these names CLAM and TRIDENT note the folder they wrote into."""

TORCH_STARTS = (b"PK\x03\x04", b"\x80\x02")
"""How files of torch.save begin: today's, and those before torch 1.6."""


@dataclass(frozen=True, kw_only=True)
class ForeignBag:
    """The features of one slide, as another program keeps them."""

    features: Float[np.ndarray, "N D"]
    """float16 or float32, as found."""

    coords: Int64[np.ndarray, "N 2"] | None
    """x and y of the same patches; None where only features are kept."""

    attributes: Mapping[str, Any]
    """Of the coordinates: plain numbers, texts and lists."""


def read_foreign(path: Path) -> ForeignBag:
    """Return a bag of CLAM or TRIDENT, told apart by content and not by name.

    Raises
    ------
    FeatureError
        If the file is missing, damaged, unsafe to open, or no such bag.
    """
    if not path.is_file():
        raise FeatureError(f"{path.name} is no file: check its name.")
    try:
        bag = _read_tensor(path) if _is_torch(path) else _read_hdf5(path)
    except UNREADABLE as error:
        raise FeatureError(
            f"{path.name} is damaged or no feature file of CLAM or TRIDENT: extract "
            "it again."
        ) from error
    return _checked(path.name, bag)


def write_clam(path: Path, bag: ForeignBag) -> None:
    """Write a bag as CLAM does: ``.h5``, or its features alone as ``.pt``.

    Raises
    ------
    FeatureError
        If the bag is not sound, or the name has another suffix.
    """
    bag = _checked(path.name, bag)
    if path.suffix == ".pt":
        _write_tensor(path, bag)
    elif path.suffix == ".h5":
        _write_hdf5(path, bag, CLAM_CHUNK_ROWS)
    else:
        raise FeatureError(
            f"{path.name} is no name for features of CLAM: end it in .h5 or .pt."
        )


def write_trident(path: Path, bag: ForeignBag) -> None:
    """Write a bag as TRIDENT does.

    Raises
    ------
    FeatureError
        If the bag is not sound.
    """
    _write_hdf5(path, _checked(path.name, bag), TRIDENT_CHUNK_ROWS)


def write_also(program: str, bag: Path, folder: Path, stem: str) -> None:
    """Write a bag of ours for another program, unless that was done after it.

    For CLAM ``h5_files/<stem>.h5`` and ``pt_files/<stem>.pt``, for TRIDENT
    ``<stem>.h5``: the patches that could be read. A slide without any has no file.

    Parameters
    ----------
    program
        ``clam`` or ``trident``.
    bag
        With features.
    folder, stem
        Where to write, and under which name.

    Raises
    ------
    FeatureError
        If the bag is missing or damaged.
    """
    if program == "clam":
        write, translated = write_clam, as_clam
        files = [folder / "h5_files" / f"{stem}.h5", folder / "pt_files" / f"{stem}.pt"]
    else:
        write, translated = write_trident, as_trident
        files = [folder / f"{stem}.h5"]
    made = bag.stat().st_mtime_ns
    old = [f for f in files if not f.exists() or f.stat().st_mtime_ns < made]
    if not old:
        return
    ours = read_own_bag(bag)
    for file in old:
        if len(ours.features):
            write(file, translated(ours))
        else:
            file.unlink(missing_ok=True)


def as_clam(bag: Bag) -> ForeignBag:
    """Return a bag of ours as CLAM has it: patches are squares of level-0 pixels."""
    about = bag.attributes
    size = [about["width"], about["height"]]
    return ForeignBag(
        features=bag.features,
        coords=bag.coords,
        attributes={
            "patch_size": round(about["patch_level0_px"][0]),
            "patch_level": 0,
            "downsample": [1.0, 1.0],
            "downsampled_level_dim": size,
            "level_dim": size,
            "name": _name(about),
        },
    )


def as_trident(bag: Bag) -> ForeignBag:
    """Return a bag of ours as TRIDENT has it, its magnifications from the mpp."""
    about = bag.attributes
    return ForeignBag(
        features=bag.features,
        coords=bag.coords,
        attributes={
            "patch_size": about["patch_px"],
            "patch_size_level0": round(about["patch_level0_px"][0]),
            "level0_magnification": round(POWER_MPP / about["mpp_x"]),
            "target_magnification": round(POWER_MPP / about["patch_mpp"]),
            "overlap": 0,
            "name": _name(about),
            "level0_width": about["width"],
            "level0_height": about["height"],
            "mpp": about["mpp_x"],
        },
    )


def _name(about: Mapping[str, Any]) -> str:
    return Path(str(about["slide_name"])).stem


def _is_torch(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4).startswith(TORCH_STARTS)


def _read_tensor(path: Path) -> ForeignBag:
    import torch

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise FeatureError(
            f"{path.name} is damaged, or holds more than a tensor and is not opened: "
            "save the features alone, by torch.save."
        ) from error
    if (
        not isinstance(tensor, torch.Tensor)
        or tensor.layout != torch.strided
        or tensor.dtype not in (torch.float16, torch.float32)
    ):
        raise FeatureError(
            f"{path.name} is no plain tensor of float16 or float32: save the features "
            "alone, by torch.save."
        )
    return ForeignBag(features=tensor.detach().numpy(), coords=None, attributes={})


def _read_hdf5(path: Path) -> ForeignBag:
    with h5py.File(path, "r") as file:
        if plain_attributes(file.attrs).get("format") == FORMAT:
            raise FeatureError(
                f"{path.name} is a bag of this program already: use it as it is."
            )
        features = stored(path.name, file, "features")
        coords = stored(path.name, file, "coords")
        return ForeignBag(
            features=np.asarray(features[()]),
            coords=np.asarray(coords[()]),
            attributes=plain_attributes(coords.attrs),
        )


def _checked(name: str, bag: ForeignBag) -> ForeignBag:
    """Return a bag that can be trusted, without what must not be passed on."""
    features = bag.features
    if features.ndim == 3 and len(features) == 1:  # TRIDENT may keep a batch of one
        features = features[0]
    if features.ndim != 2 or not features.shape[1]:
        raise FeatureError(
            f"{name} holds features of shape {features.shape}, not one row per patch: "
            "extract the features of patches."
        )
    if features.dtype not in DTYPES:
        raise FeatureError(
            f"{name} holds features of type {features.dtype}: save them as float16 or "
            "float32."
        )
    if not np.isfinite(features).all():
        raise FeatureError(f"{name} holds NaN or infinite features: extract it again.")
    return ForeignBag(
        features=features,
        coords=_checked_coords(name, bag.coords, len(features)),
        attributes={
            key: value
            for key, value in bag.attributes.items()
            if key not in FOLDERS and not _is_absolute(value)
        },
    )


def _checked_coords(
    name: str, coords: np.ndarray | None, rows: int
) -> Int64[np.ndarray, "N 2"] | None:
    if coords is None:
        return None
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise FeatureError(
            f"{name} holds coordinates of shape {coords.shape}, not one x and y per "
            "patch: extract it again."
        )
    if coords.dtype.kind not in "iu" or not np.can_cast(coords.dtype, np.int64):
        raise FeatureError(
            f"{name} holds coordinates of type {coords.dtype}: save them as int64."
        )
    if len(coords) != rows:
        raise FeatureError(
            f"{name} holds {len(coords)} coordinates and {rows} features: extract it "
            "again."
        )
    return coords.astype(np.int64)


def _is_absolute(value: Any) -> bool:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and any(
        kind(text).is_absolute() for kind in (PurePosixPath, PureWindowsPath)
    )


def _write_tensor(path: Path, bag: ForeignBag) -> None:
    import torch

    tensor = torch.tensor(np.ascontiguousarray(bag.features))
    # Given a path, torch would note the temporary name in the file.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(tensor, stream)


def _write_hdf5(path: Path, bag: ForeignBag, chunk_rows: int) -> None:
    if bag.coords is None:
        raise FeatureError(
            f"{path.name} needs coordinates, and this bag has none: write it as .pt, "
            "or extract it again."
        )
    with new_hdf5(path) as file:
        _create(file, "features", bag.features, chunk_rows)
        coords = _create(file, "coords", bag.coords, chunk_rows)
        for name, value in bag.attributes.items():
            coords.attrs[name] = value


def _create(
    file: h5py.File, name: str, rows: np.ndarray, chunk_rows: int
) -> h5py.Dataset:
    return file.create_dataset(
        name,
        data=rows,
        chunks=(chunk_rows, rows.shape[1]),
        maxshape=(None, rows.shape[1]),
        fletcher32=True,
    )
