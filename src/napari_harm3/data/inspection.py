"""What a file is and what is wrong with it, whatever it is."""

from pathlib import Path

import numpy as np

from napari_harm3.errors import FeatureError, VolumeError
from napari_harm3.mri.affine import orientation_code
from napari_harm3.mri.annotation import check_contents
from napari_harm3.mri.display import oblique_degrees
from napari_harm3.mri.formats import VOLUME_SUFFIXES
from napari_harm3.mri.reading import annotation_kind, blank_fault, kind_of, read_volume
from napari_harm3.mri.volume import Volume
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.features import bag_summary, has_features, own_attributes
from napari_harm3.wsi.files import is_feature_file
from napari_harm3.wsi.folder import slides_at
from napari_harm3.wsi.inspection import FileReport, inspect_slide

LEADS = {
    "R": "right",
    "L": "left",
    "A": "front",
    "P": "back",
    "S": "head",
    "I": "feet",
}
"""The patient's side that a letter of an orientation code stands for."""


def inspect_file(path: Path, *, source_mpp: float | None = None) -> FileReport:
    """Return what a slide, a volume or a feature file is; every byte is read.

    A folder of one DICOM series is a volume.
    """
    if is_feature_file(path):
        return _features(path)
    try:
        kind = kind_of(path)
    except (VolumeError, OSError):  # it cannot be read, and its reader tells why
        kind = None
    if kind is not None or path.name.lower().endswith(VOLUME_SUFFIXES):
        return _volume(path, kind)
    return inspect_slide(path, source_mpp=source_mpp)


def files_at(path: Path) -> list[Path]:
    """Return what there is to inspect in a folder and those in it, or the file itself.

    A folder that holds DICOM volumes stands for its files, as one of a slide does.
    What cannot be looked at stands for itself, so that opening it tells why.
    """
    try:
        volumes = _volumes_in(path) if path.is_dir() else set()
    except (OSError, VolumeError):
        volumes = set()
    slides = {slide for slide in slides_at(path) if not volumes & {slide, slide.parent}}
    # A folder without slides stands for itself among them.
    return sorted(volumes | slides - ({path} if volumes else set()))


def _volumes_in(folder: Path) -> set[Path]:
    volumes: set[Path] = set()
    for file in folder.rglob("*"):
        kind = kind_of(file) if file.is_file() else None
        if kind == "DICOM" and annotation_kind(file) is None:
            volumes.add(file.parent)
        elif kind is not None:
            volumes.add(file)
    return volumes


def _volume(path: Path, kind: str | None) -> FileReport:
    told = "volume" if kind is None else f"volume ({kind})"
    try:
        annotation = annotation_kind(path)
        if annotation is not None:
            told = f"annotation (DICOM {annotation})"
            check_contents(path)
            note = "Whether it lies on its volume is told by `harm3 check`."
            return FileReport(kind=told, notes=[note])
        volume = read_volume(path)
    except VolumeError as error:
        return FileReport(kind=told, faults=[str(error)])
    fault = blank_fault(volume)
    return FileReport(
        kind=told, faults=[fault] if fault else [], notes=_described(volume)
    )


def _described(volume: Volume) -> list[str]:
    size = " x ".join(str(count) for count in volume.shape)
    spacing = " x ".join(f"{length:.3g}" for length in volume.spacing_mm)
    code, tilt = orientation_code(volume.affine), oblique_degrees(volume)
    leads = ", ".join(LEADS[letter] for letter in code)
    lies = f"oblique by {tilt:.1f} degrees" if tilt >= 0.05 else "not oblique"
    low, high = volume.array.min(), volume.array.max()
    mean = volume.array.mean(dtype=np.float64)
    return [
        f"{size} voxels of {spacing} mm.",
        f"Its axes lead to {leads} ({code}), {lies}.",
        f"Intensities from {low:.6g} to {high:.6g}, mean {mean:.4g}.",
    ]


def _features(path: Path) -> FileReport:
    try:
        if own_attributes(path) is not None and not has_features(path):
            count = bag_summary(path)["patches"]
            return FileReport(
                kind="coordinates",
                notes=[f"{count} patches without features: run `harm3 features`."],
            )
        bag = read_bag(path)
    except FeatureError as error:
        return FileReport(kind="features", faults=[str(error)])
    count, width = bag.features.shape
    encoder = bag.attributes.get("encoder", "an encoder that it does not name")
    notes = [f"{count} patches of {width} numbers, by {encoder}."]
    if damaged := len(bag.status) - count:
        notes.append(f"{damaged} patches more could not be read from the slide.")
    if bag.coords is None:
        notes.append("It does not say where its patches lie.")
    return FileReport(kind="features", notes=notes)
