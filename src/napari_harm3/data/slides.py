"""A case's slides as bags of patch features, made once."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.cohort.case import Case
from napari_harm3.data.config import InputConfig
from napari_harm3.errors import FeatureError
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.extraction import extract
from napari_harm3.wsi.features import Bag, has_features, is_sound
from napari_harm3.wsi.files import is_feature_file
from napari_harm3.wsi.layout import describe, is_made, lay_out
from napari_harm3.wsi.slide import open_slide

if TYPE_CHECKING:
    from napari_harm3.wsi.encoder import Encoder


def prepare_slides(
    case: Case, inputs: InputConfig, work: Path, encoder: "Encoder"
) -> Iterator[tuple[int, int]]:
    """Turn a case's slides into bags, yielding patches done and patches in all.

    Feature files in the cohort table are used as they are, if they can be read.

    Raises
    ------
    SlideError
        If a slide cannot be read, or lacks its resolution.
    FeatureError
        If a feature file is missing or damaged, or two differ in width.
    """
    bags = bags_of(case, work)
    read_bags([bag for path, bag in zip(case.slides, bags, strict=True) if bag == path])
    for path, mpp, out in zip(case.slides, case.slide_mpp, bags, strict=True):
        if out == path:
            continue
        with open_slide(path, source_mpp=mpp) as slide:
            about = describe(slide, inputs.tissue, inputs.patches)
            if not is_extracted(out, {**about, **encoder.attributes}):
                layout = lay_out(slide, inputs.tissue, inputs.patches)
                yield from extract(layout, out, encoder)


def is_extracted(bag: Path, wanted: Mapping[str, Any]) -> bool:
    """Return whether a bag holds features made as wanted, every byte of them sound."""
    return is_made(bag, wanted) and has_features(bag) and is_sound(bag)


def bags_of(case: Case, work: Path) -> tuple[Path, ...]:
    """Return where the bag of each slide lies; a feature file is its own."""
    return tuple(
        path
        if is_feature_file(path)
        else work / "slides" / f"{case.case_id}-{number}.harm3.h5"
        for number, path in enumerate(case.slides)
    )


def read_bags(paths: Sequence[Path]) -> list[Bag]:
    """Return the bags of one case.

    Raises
    ------
    FeatureError
        If one cannot be read, or two have patches of different width.
    """
    bags = [read_bag(path) for path in paths]
    widths = [bag.features.shape[1] for bag in bags]
    check_widths(dict(zip(paths, widths, strict=True)))
    return bags


def check_widths(widths: Mapping[Path, int]) -> None:
    """Refuse bags that cannot be one.

    Parameters
    ----------
    widths
        Features of a patch, by the bag's file.

    Raises
    ------
    FeatureError
        Naming the first two files that differ.
    """
    for first, other in pairwise(widths):
        if widths[other] != widths[first]:
            raise FeatureError(
                f"{first.name} has {widths[first]} features a patch and {other.name} "
                f"has {widths[other]}: extract them alike."
            )
