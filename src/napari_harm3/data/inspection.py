"""What a file is and what is wrong with it, whatever it is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_harm3.errors import FeatureError, VolumeError
from napari_harm3.mri.volume import read_volume
from napari_harm3.wsi.bags import FEATURE_SUFFIXES, read_bag
from napari_harm3.wsi.features import bag_summary, has_features, own_attributes
from napari_harm3.wsi.inspection import inspect_slide

VOLUME_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What is to be said of a file; it can be used if there are no faults."""

    kind: str
    faults: list[str]
    notes: list[str]


def inspect_file(path: Path, *, source_mpp: float | None = None) -> FileReport:
    """Return what a slide, a volume or a feature file is; every byte is read."""
    name = path.name.lower()
    if name.endswith(VOLUME_SUFFIXES):
        return _volume(path)
    if name.endswith(FEATURE_SUFFIXES):
        return _features(path)
    slide = inspect_slide(path, source_mpp=source_mpp)
    return FileReport(kind=slide.kind, faults=slide.faults, notes=slide.notes)


def _volume(path: Path) -> FileReport:
    try:
        volume = read_volume(path)
    except VolumeError as error:
        return FileReport(kind="volume (NIfTI)", faults=[str(error)], notes=[])
    size = " x ".join(str(count) for count in volume.shape)
    spacing = " x ".join(f"{length:.3g}" for length in volume.spacing_mm)
    faults = []
    if np.ptp(volume.array) == 0:
        faults.append(f"{path.name} shows nothing: all its voxels are alike.")
    return FileReport(
        kind="volume (NIfTI)",
        faults=faults,
        notes=[f"{size} voxels of {spacing} mm."],
    )


def _features(path: Path) -> FileReport:
    try:
        if own_attributes(path) is not None and not has_features(path):
            count = bag_summary(path)["patches"]
            return FileReport(
                kind="coordinates",
                faults=[],
                notes=[f"{count} patches without features: run `harm3 features`."],
            )
        bag = read_bag(path)
    except FeatureError as error:
        return FileReport(kind="features", faults=[str(error)], notes=[])
    count, width = bag.features.shape
    encoder = bag.attributes.get("encoder", "an encoder that it does not name")
    notes = [f"{count} patches of {width} numbers, by {encoder}."]
    if damaged := len(bag.status) - count:
        notes.append(f"{damaged} patches more could not be read from the slide.")
    if bag.coords is None:
        notes.append("It does not say where its patches lie.")
    return FileReport(kind="features", faults=[], notes=notes)
