"""DICOM segmentations and heat maps: labels read, and both written for an archive.

What is written belongs to its source's study, so it bears the patient's name as the
source does: it goes back where the source came from, and nowhere else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from napari_harm3.artifacts import atomic_path, sha256_of
from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import RAS_OF_LPS
from napari_harm3.mri.dicom import source_images
from napari_harm3.mri.dicom_headers import (
    SEGMENTATIONS,
    dicom_errors,
    is_dicom,
    read_dataset,
    storage_class,
)
from napari_harm3.mri.labels import LABELS, label_named, labels_by_name
from napari_harm3.mri.stack import UNEVEN_MM, UNEVEN_SHARE
from napari_harm3.mri.volume import Geometry, Volume

INSIDE = 0.5
"""Share of a voxel, or probability, from which a fractional segment marks it."""

PARALLEL = 0.999
"""Least cosine between the normal of a segment's planes and an axis of a volume."""

OWN_NAME = re.compile(r"label ([1-9]\d{0,2})")
"""What a segment is called whose label has no name."""

REQUIRED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
"""What an image must state, be it empty; de-identification often takes it out."""

MAKER = "napari-harm3"
MORPHOLOGY = ("49755003", "SCT", "Morphologically abnormal structure")
ANATOMY = ("123037004", "SCT", "Anatomical Structure")
KINDS = {
    1: (MORPHOLOGY, ("86049000", "SCT", "Neoplasm, Primary")),
    2: (ANATOMY, ("59441001", "SCT", "Lymph node")),
}
OTHER_KIND = (MORPHOLOGY, ("52988006", "SCT", "Lesion"))


def read_segmentation(
    path: Path,
    labels: Mapping[str, int] | None = None,
    *,
    volume: Geometry | None = None,
) -> Volume:
    """Return the labels of a DICOM SEG on its own grid.

    Segments are told by the usual names of tumour and nodes, and by "label 3", which is
    ours; where none bears one, a segment's number is its label. Where segments overlap,
    the lowest label is kept. One that marks nothing, and so does not say where it lies,
    has a single voxel.

    Parameters
    ----------
    path
        The segmentation.
    labels
        The label of each segment that counts, by its name.
    volume
        What it was drawn on: tells how thick its slices are where it does not.

    Raises
    ------
    VolumeError
        If the file is damaged, no segmentation, or its slices are unevenly spaced, or
        as far apart as neither it nor the volume says; if its segments' names are
        ambiguous.
    """
    if not is_dicom(path) or storage_class(path) not in SEGMENTATIONS:
        raise VolumeError(f"{path.name} is no DICOM segmentation: give the SEG file.")
    dataset = read_dataset(path, pixels=True)
    with dicom_errors(path.name):
        import highdicom

        _state_spacing(dataset, path.name, volume)
        image = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
        numbers = _numbers(image, path.name, labels)
        found = image.get_volume(
            segment_numbers=sorted(numbers), rescale_fractional=True
        )
    parts = np.asarray(found.array).transpose(2, 1, 0, 3)
    marked = np.zeros(parts.shape[:3], dtype=np.float32)
    by_label = [(numbers[n], part) for part, n in enumerate(sorted(numbers))]
    for label, part in sorted(by_label, reverse=True):
        marked[parts[..., part] >= INSIDE] = label
    return Volume(
        shape=(parts.shape[0], parts.shape[1], parts.shape[2]),
        affine=RAS_OF_LPS @ np.array(found.affine)[:, [2, 1, 0, 3]],
        array=marked,
        name=path.name,
        sha256=sha256_of(path),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or "") or None,
    )


def write_segmentation(
    path: Path, labels: UInt8[np.ndarray, "X Y Z"], source: Path
) -> None:
    """Write labels as a DICOM SEG of the series that they were drawn on, atomically.

    Parameters
    ----------
    path
        File to write.
    labels
        On the grid that `read_series` gives for the source; 1 primary, 2 nodes.
    source
        The DICOM series.

    Raises
    ------
    VolumeError
        If the source cannot be read, or its grid is another one.
    """
    _write(path, labels, source, _labelled, kind="segmentation")


def write_parametric_map(
    path: Path, heat_map: Float[np.ndarray, "X Y Z"], source: Path
) -> None:
    """Write a heat map as a DICOM Parametric Map of its source series, atomically.

    Parameters
    ----------
    path
        File to write.
    heat_map
        On the grid that `read_series` gives for the source, in no unit.
    source
        The DICOM series.

    Raises
    ------
    VolumeError
        If the source cannot be read, or its grid is another one.
    """
    values = heat_map.astype(np.float32)
    _write(path, values, source, _mapped, kind="parametric map")


def _write(
    path: Path,
    array: Shaped[np.ndarray, "X Y Z"],
    source: Path,
    make: Callable[[Any, Sequence[Any]], Any],
    *,
    kind: str,
) -> None:
    """Write what is made of voxels and of the images they belong to, atomically."""
    images, grid = source_images(source)
    _check_shape(array, grid, source)
    for image in images:
        for keyword in REQUIRED:
            if keyword not in image:
                setattr(image, keyword, None)
    with dicom_errors(source.name, f"written as a {kind}"):
        made = make(_volume(array, grid, images), images)
    with atomic_path(path) as temporary:
        made.save_as(temporary)


def _labelled(volume: Any, images: Sequence[Any]) -> Any:
    import highdicom

    most = int(volume.array.max())
    return highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=volume,
        segmentation_type="BINARY",
        segment_descriptions=[_segment(label) for label in range(1, max(2, most) + 1)],
        omit_empty_frames=most > 0,
        content_label="ANNOTATION",
        **_identity(9001),
    )


def _mapped(volume: Any, images: Sequence[Any]) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    low, high = float(volume.array.min()), float(volume.array.max())
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="HEATMAP",
        lut_explanation="Evidence of a model, research use only",
        unit=codes.UCUM.NoUnits,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
    )
    return highdicom.pm.ParametricMap(
        source_images=images,
        pixel_array=volume,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        window_center=(low + high) / 2,
        window_width=max(high - low, 1e-6),
        content_label="HEATMAP",
        **_identity(9002),
    )


def _state_spacing(dataset: Any, where: str, volume: Geometry | None) -> None:
    """Let a segmentation say how far its slices lie apart, where it does not.

    Only marked slices need be in it, so their own distances may be those of gaps.
    """
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = dataset.PerFrameFunctionalGroupsSequence
    groups = [one for one in (shared, *frames) if "PixelMeasuresSequence" in one]
    measures = [one.PixelMeasuresSequence[0] for one in groups]
    unstated = [one for one in measures if not one.get("SpacingBetweenSlices")]
    placed = all("PlanePositionSequence" in one for one in frames)
    if not (unstated and placed and "PlaneOrientationSequence" in shared):
        return
    cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    normal = np.cross(cosines[:3], cosines[3:])
    positions = [one.PlanePositionSequence[0].ImagePositionPatient for one in frames]
    heights = np.sort(np.array(positions, dtype=float) @ normal)
    thickness = float(unstated[0].get("SliceThickness") or 0)
    likely = [_slice_spacing(volume, normal), thickness]
    fitting = [one for one in likely if one and _multiples(heights, one)]
    if fitting:
        for one in unstated:
            one.SpacingBetweenSlices = f"{fitting[0]:.10g}"
        return
    gaps = np.diff(heights)
    least = gaps[gaps > UNEVEN_MM].min(initial=np.inf)
    if volume is not None and least > 2 * thickness > 0:
        raise VolumeError(
            f"{where} does not say how far its slices lie apart, and they are not "
            "those of its volume: export it again, or as NIfTI."
        )


def _slice_spacing(volume: Geometry | None, normal: Float[np.ndarray, "3"]) -> float:
    """Return a volume's step along a normal in LPS; 0 if none of its axes leads so."""
    if volume is None:
        return 0.0
    ras = RAS_OF_LPS[:3, :3] @ normal
    cosines = np.abs(ras @ volume.affine[:3, :3] / volume.spacing_mm)
    axis = int(cosines.argmax())
    return float(volume.spacing_mm[axis]) if cosines[axis] >= PARALLEL else 0.0


def _multiples(heights: Float[np.ndarray, "N"], spacing_mm: float) -> bool:
    """Return whether slices lie on places that are evenly spaced."""
    steps = (heights - heights[0]) / spacing_mm
    return bool((np.abs(steps - np.round(steps)) <= UNEVEN_SHARE).all())


def _numbers(
    image: Any, where: str, labels: Mapping[str, int] | None
) -> dict[int, int]:
    """Return the label of each segment that has one, by the segment's number."""
    segments = [image.get_segment_description(n) for n in image.segment_numbers]
    names = [str(segment.segment_label) for segment in segments]
    counts = [int(segment.segment_number) for segment in segments]
    if labels is not None:
        found = labels_by_name(names, where, labels)
    else:
        told = [OWN_NAME.fullmatch(name) for name in names]
        found = {i: int(label[1]) for i, label in enumerate(told) if label}
        if any(label_named(name) for name in names):
            found |= labels_by_name(names, where)
        found = found or dict(enumerate(counts))
    if max(found.values()) > 255:
        raise VolumeError(f"{where} has labels above 255: is it an annotation?")
    return {counts[index]: label for index, label in found.items()}


def _check_shape(
    array: Shaped[np.ndarray, "X Y Z"], grid: Geometry, source: Path
) -> None:
    if array.shape != grid.shape:
        raise VolumeError(
            f"What is to be written has {array.shape} voxels, but {source.name} has "
            f"{grid.shape}: give the series that it belongs to."
        )


def _volume(
    array: Shaped[np.ndarray, "X Y Z"], grid: Geometry, images: Sequence[Any]
) -> Any:
    import highdicom

    lps = RAS_OF_LPS @ grid.affine
    return highdicom.Volume(
        array=np.ascontiguousarray(array.transpose(2, 1, 0)),
        affine=lps[:, [2, 1, 0, 3]],
        coordinate_system="PATIENT",
        frame_of_reference_uid=images[0].get("FrameOfReferenceUID"),
    )


def _segment(label: int) -> Any:
    import highdicom

    category, kind = KINDS.get(label, OTHER_KIND)
    return highdicom.seg.SegmentDescription(
        segment_number=label,
        segment_label=LABELS.get(label, f"label {label}"),
        segmented_property_category=highdicom.sr.CodedConcept(*category),
        segmented_property_type=highdicom.sr.CodedConcept(*kind),
        algorithm_type="MANUAL",
    )


def _identity(series_number: int) -> dict[str, Any]:
    from importlib.metadata import version

    import highdicom

    return {
        "series_instance_uid": highdicom.UID(),
        "series_number": series_number,
        "sop_instance_uid": highdicom.UID(),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": version(MAKER),
        "device_serial_number": "0",
    }
