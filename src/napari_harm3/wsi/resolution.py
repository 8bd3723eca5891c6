"""How many microns a pixel of a slide spans, and whether that can be believed."""

from collections.abc import Mapping
from math import nan
from xml.etree import ElementTree as ET

from napari_harm3.errors import SlideError

PLAUSIBLE_MPP = (0.05, 20.0)
"""No scanner makes finer or coarser slides; a value beyond is not believed."""

USUAL_MPP = (0.1, 2.0)
POWER_MPP = 10.0
"""Objective power times microns per pixel, as TRIDENT reckons too; scanners differ by
less than two."""

UNSTATED = "does not state its resolution (microns per pixel)"

WRITTEN_AS = (("openslide.mpp-x", "openslide.mpp-y"), ("aperio.MPP", "aperio.MPP"))
"""Properties that hold it along x and y; OpenSlide leaves out what it cannot use."""

MICRONS = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "\u00b5m": 1.0,  # the sign for micro
    "\u03bcm": 1.0,  # the Greek letter
    "um": 1.0,
    "nm": 1e-3,
    "in": 25_400.0,
}

Mpp = tuple[float, float]

NOT_IN_MICRONS: Mpp = (nan, nan)
"""Stated, and not in a way that can be understood; what else a file says may differ."""


def require_plausible(stated: float) -> None:
    """Refuse a resolution that no slide has.

    Raises
    ------
    SlideError
        Naming the value and where it was stated.
    """
    if not _plausible((stated, stated)):
        low, high = PLAUSIBLE_MPP
        raise SlideError(
            f"A resolution of {stated:g} microns per pixel was stated, and slides "
            f"have {low:g} to {high:g}: correct --source-mpp or the column 'mpp'."
        )


def resolution(
    properties: Mapping[str, str], *, own: Mpp | None, stated: float | None
) -> tuple[Mpp | None, str | None, str]:
    """Return microns per pixel, who says so, and what is odd about it.

    A stated value wins; what the file says is not believed where no slide has it.

    Parameters
    ----------
    properties
        What OpenSlide says of the file.
    own
        What the file itself says, where that counts more.
    stated
        What its user says.
    """
    if stated is not None:
        return (stated, stated), "stated", ""
    found = own or _written(properties)
    if found is None:
        return None, None, ""
    if found is NOT_IN_MICRONS:
        return None, None, "states its resolution in a unit that is not known"
    if not _plausible(found):
        odd = f"states {found[0]:.4g} microns per pixel, which no slide has"
        return None, None, odd
    return found, "file", _oddity(properties, found)


def ome_mpp(xml: str, width: int, height: int) -> Mpp | None:
    """Return the microns per pixel of the image of a size that OME-XML describes.

    None if it states none, and `NOT_IN_MICRONS` if it cannot be understood.
    """
    if "<!DOCTYPE" in xml:  # entities that grow for ever; OME has no use for them
        return NOT_IN_MICRONS
    try:
        elements = list(ET.fromstring(xml).iter())  # noqa: S314 - no DOCTYPE
    except (ET.ParseError, ValueError):
        return NOT_IN_MICRONS
    size = str(width), str(height)
    for element in elements:
        said = element.attrib
        if (said.get("SizeX"), said.get("SizeY")) == size and (
            "PhysicalSizeX" in said or "PhysicalSizeY" in said
        ):
            return _physical_size(said)
    return None


def _physical_size(said: Mapping[str, str]) -> Mpp:
    try:
        x, y = (
            float(said[f"PhysicalSize{axis}"])
            * MICRONS[said.get(f"PhysicalSize{axis}Unit", "um")]
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return NOT_IN_MICRONS
    return x, y


def _plausible(mpp: Mpp) -> bool:
    low, high = PLAUSIBLE_MPP
    return all(low <= length <= high for length in mpp)


def _written(properties: Mapping[str, str]) -> Mpp | None:
    """Return what a file states, sense or not; some scanners write a decimal comma."""
    for names in WRITTEN_AS:
        try:
            x, y = (float(properties[name].replace(",", ".")) for name in names)
        except (KeyError, ValueError):
            continue
        return x, y
    return None


def _oddity(properties: Mapping[str, str], mpp: Mpp) -> str:
    low, high = USUAL_MPP
    if not (low <= min(mpp) and max(mpp) <= high):
        return f"states {mpp[0]:.3g} microns per pixel, unusual for a slide"
    try:
        power = float(properties["openslide.objective-power"])
    except (KeyError, ValueError):
        return ""
    if power > 0 and not 0.5 < mpp[0] * power / POWER_MPP < 2:
        return (
            f"states {mpp[0]:.3g} microns per pixel and an objective of {power:g}x, "
            "which do not go together"
        )
    return ""
