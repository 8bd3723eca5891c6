"""Bags of patch features on disk: ``<name>.harm3.h5``, written once, resumably.

Batches are appended to ``<name>.part/`` (raw rows and a JSON journal); the HDF5 file
is made of it in one go and renamed. A kill loses at most one batch.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int64, UInt8

from napari_harm3.artifacts import atomic_path, write_json
from napari_harm3.config import to_plain
from napari_harm3.errors import FeatureError, SlideError
from napari_harm3.wsi.config import PatchConfig, TissueConfig
from napari_harm3.wsi.encoder import Encoder
from napari_harm3.wsi.patches import Patches, lay_patches, read_patch
from napari_harm3.wsi.slide import Slide
from napari_harm3.wsi.tissue import Tissue, find_tissue

FORMAT, VERSION = "harm3-features", 1
OK, DAMAGED, NOT_DONE = 0, 1, 3
CHUNK_ROWS = 512
IDENTITY = ("encoder", "weights_sha256", "transform", "patch_mpp", "patch_px", "rule")
"""What must agree between the features of training and of use."""


@dataclass(frozen=True, kw_only=True)
class Bag:
    """The features of one slide."""

    features: Float[np.ndarray, "n D"]
    """Of the patches that could be read."""

    coords: Int64[np.ndarray, "n 2"]
    """Level-0 x and y of the same patches."""

    status: UInt8[np.ndarray, "N"]
    """Of all patches: 0 read, 1 damaged, 3 not done."""

    attributes: Mapping[str, Any]


def extract(
    slide: Slide,
    out: Path,
    tissue: TissueConfig,
    patches: PatchConfig,
    encoder: Encoder,
) -> Iterator[tuple[int, int]]:
    """Write a slide's bag, yielding patches done and patches in all.

    A damaged patch is marked and never encoded as if it were white.

    Raises
    ------
    SlideError
        If the slide lacks its resolution, or is damaged beyond its tissue.
    """
    found = find_tissue(slide, tissue)
    grid = lay_patches(slide, found, patches)
    attributes = describe(slide, tissue, patches) | {
        "encoder": encoder.name,
        "weights_sha256": encoder.weights_sha256,
        "transform": encoder.transform,
    }
    part = _Part(out.with_name(out.name + ".part"), attributes, encoder.dim)
    total = len(grid.coords)
    yield part.rows, total
    while part.rows < total:
        batch = grid.coords[part.rows : part.rows + encoder.batch]
        part.append(*_encoded(slide, batch, grid, patches, encoder))
        yield part.rows, total
    features, status = part.read()
    _write(out, found, grid, part.attributes, features, status)
    part.remove()


def write_coords(
    slide: Slide,
    out: Path,
    found: Tissue,
    grid: Patches,
    tissue: TissueConfig,
    patches: PatchConfig,
) -> None:
    """Write a bag of coordinates only, its features not done."""
    status = np.full(len(grid.coords), NOT_DONE, np.uint8)
    attributes = describe(slide, tissue, patches) | {"created": _now()}
    _write(out, found, grid, attributes, None, status)


def describe(
    slide: Slide, tissue: TissueConfig, patches: PatchConfig
) -> dict[str, Any]:
    """Return the root attributes that do not depend on an encoder."""
    mpp_x, mpp_y = slide.require_mpp()
    return {
        "format": FORMAT,
        "version": VERSION,
        "slide_name": slide.name,
        "slide_fingerprint": slide.fingerprint,
        "width": slide.width,
        "height": slide.height,
        "mpp_x": mpp_x,
        "mpp_y": mpp_y,
        "mpp_source": slide.mpp_source,
        "patch_px": patches.patch,
        "patch_mpp": patches.mpp,
        "patch_level0_px": [
            patches.patch * patches.mpp / mpp for mpp in (mpp_x, mpp_y)
        ],
        "stride": patches.patch,
        "rule": patches.rule,
        "allow_upsampling": patches.allow_upsampling,
        "segmentation": json.dumps(to_plain(tissue), sort_keys=True),
        "reader": f"openslide/{slide.vendor}",
    }


def read_bag(path: Path) -> Bag:
    """Return a bag; every chunk's checksum is verified.

    Raises
    ------
    FeatureError
        If the file is missing, damaged, or no bag of features.
    """
    try:
        with h5py.File(path, "r") as file:
            coords, status = (
                _dataset(path, file, "coords"),
                _dataset(path, file, "status"),
            )
            if (status == NOT_DONE).any():
                raise FeatureError(
                    f"{path.name} holds coordinates without features: run "
                    "`harm3 features` on its slide."
                )
            features = _dataset(path, file, "features")
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
    except OSError as error:
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


def read_attributes(path: Path) -> dict[str, Any] | None:
    """Return a bag's root attributes; None if there is no such file yet."""
    try:
        with h5py.File(path, "r") as file:
            return {name: _plain(value) for name, value in file.attrs.items()}
    except OSError:
        return None


def _encoded(
    slide: Slide,
    coords: Int64[np.ndarray, "n 2"],
    grid: Patches,
    patches: PatchConfig,
    encoder: Encoder,
) -> tuple[Float[np.ndarray, "n D"], UInt8[np.ndarray, "n"]]:
    features = np.zeros((len(coords), encoder.dim), np.float32)
    status = np.zeros(len(coords), np.uint8)
    pixels = []
    for number, (x, y) in enumerate(coords.tolist()):
        try:
            pixels.append(
                read_patch(slide, x, y, level0_px=grid.level0_px, size=patches.patch)
            )
        except SlideError:
            status[number] = DAMAGED
    if pixels:
        features[status == OK] = encoder.encode(np.stack(pixels))
    return features, status


class _Part:
    """The rows done so far of a bag in the making."""

    def __init__(self, folder: Path, attributes: dict[str, Any], dim: int) -> None:
        self.folder, self.dim = folder, dim
        self.attributes = attributes | {"created": _now()}
        self.rows = 0
        begun = self._begun()
        if begun is not None and _same(begun["attributes"], attributes):
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
        features = np.fromfile(self.folder / "features.raw", "<f4")
        return features.reshape(-1, self.dim), np.fromfile(
            self.folder / "status.raw", np.uint8
        )

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _begun(self) -> dict[str, Any] | None:
        try:
            begun = json.loads((self.folder / "journal.json").read_text())
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


def _same(begun: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    return all(begun.get(name) == value for name, value in attributes.items())


def _write(
    out: Path,
    found: Tissue,
    grid: Patches,
    attributes: Mapping[str, Any],
    features: Float[np.ndarray, "N D"] | None,
    status: UInt8[np.ndarray, "N"],
) -> None:
    with atomic_path(out) as temporary, h5py.File(temporary, "w") as file:
        coords = file.create_dataset(
            "coords", data=grid.coords, fletcher32=_any(status)
        )
        if features is not None:
            _create_features(file, features)
        file.create_dataset("status", data=status, fletcher32=_any(status))
        file.create_dataset("tissue", data=grid.tissue, fletcher32=_any(status))
        file.create_dataset("geometry", data=json.dumps(found.polygons))
        for name, value in attributes.items():
            file.attrs[name] = value
        side = round(grid.level0_px[0])
        # Under these names CLAM and TRIDENT look for them.
        names = {
            "patch_size": attributes["patch_px"],
            "patch_level": 0,
            "patch_size_level0": side,
            "level0_width": attributes["width"],
            "level0_height": attributes["height"],
            "overlap": 0,
            "name": Path(str(attributes["slide_name"])).stem,
        }
        for name, value in names.items():
            coords.attrs[name] = value


def _create_features(file: h5py.File, features: Float[np.ndarray, "N D"]) -> None:
    file.create_dataset(
        "features",
        data=features,
        chunks=(CHUNK_ROWS, features.shape[1]),
        maxshape=(None, features.shape[1]),
        fletcher32=True,
    )


def _any(status: UInt8[np.ndarray, "N"]) -> bool | None:
    # HDF5 cannot keep checksums of an empty dataset.
    return True if len(status) else None


def _dataset(path: Path, file: h5py.File, name: str) -> np.ndarray:
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise FeatureError(f"{path.name} has no dataset '{name}': extract it again.")
    return np.asarray(file[name][()])


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
