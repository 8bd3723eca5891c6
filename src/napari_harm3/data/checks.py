"""What is wrong with a case's files: every one of them is opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import Fault
from napari_harm3.data.slides import check_widths
from napari_harm3.errors import Harm3Error, SlideError, VolumeError, sentence
from napari_harm3.mri.annotation import check_annotation, read_annotation
from napari_harm3.mri.preprocess import check_overlap
from napari_harm3.mri.reading import blank_fault, read_geometry, read_volume
from napari_harm3.mri.volume import Geometry
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.files import is_feature_file
from napari_harm3.wsi.inspection import inspect_slide
from napari_harm3.wsi.slide import open_slide


def case_faults(case: Case, *, quick: bool) -> list[Fault]:
    """Return a fault for everything that would stop a case.

    Parameters
    ----------
    case
        A row of the cohort table.
    quick
        Read headers only: no voxel, no tile.
    """
    faults = _Faults(case.row)
    grids: dict[str, Geometry] = {}
    for role, path in case.volumes.items():
        with faults.of(role):
            grids[role] = _volume(path, quick=quick)
        if role not in grids:
            continue
        if role in case.masks:
            with faults.of(f"mask_{role}"):
                _annotation(case.masks[role], grids[role], quick=quick)
        # Its voxels have been read: of the case, only where they lie is needed.
        whole = grids[role]
        grids[role] = Geometry(shape=whole.shape, affine=whole.affine)
    with faults.of(None):
        check_overlap(grids)
    widths: dict[Path, int] = {}
    for path, mpp in zip(case.slides, case.slide_mpp, strict=True):
        with faults.of("wsi"):
            if is_feature_file(path):
                widths[path] = read_bag(path).features.shape[1]
            else:
                _slide(path, mpp, quick=quick)
    with faults.of("wsi"):
        check_widths(widths)
    return faults.found


@dataclass
class _Faults:
    row: int
    found: list[Fault] = field(default_factory=list)

    @contextmanager
    def of(self, column: str | None) -> Iterator[None]:
        """Turn what a user can put right into a fault of a column."""
        try:
            yield
        except (Harm3Error, OSError) as error:
            self.found.append(Fault(self.row, column, sentence(error)))


def _volume(path: Path, *, quick: bool) -> Geometry:
    if quick:
        return read_geometry(path)
    volume = read_volume(path)
    if fault := blank_fault(volume):
        raise VolumeError(fault)
    return volume


def _annotation(path: Path, volume: Geometry, *, quick: bool) -> None:
    if quick:
        check_annotation(path)
    else:
        read_annotation(path, volume)


def _slide(path: Path, mpp: float | None, *, quick: bool) -> None:
    report = inspect_slide(path, source_mpp=mpp, quick=quick)
    if report.faults:
        raise SlideError(" ".join(report.faults))
    with open_slide(path, source_mpp=mpp) as slide:
        slide.require_mpp()
