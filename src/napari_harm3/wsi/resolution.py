"""How many microns a pixel of a slide spans, and whether that can be believed."""

import re
from collections.abc import Mapping

from napari_harm3.errors import SlideError

PLAUSIBLE_MPP = (0.05, 20.0)
"""No scanner makes finer or coarser slides; a value beyond is not believed."""

USUAL_MPP = (0.1, 2.0)
POWER_MPP = 10.0
"""Objective power times microns per pixel; scanners differ by less than two."""

UNSTATED = "does not state its resolution (microns per pixel)"

WRITTEN_AS = (("openslide.mpp-x", "openslide.mpp-y"), ("aperio.MPP", "aperio.MPP"))
"""Properties that hold it along x and y; OpenSlide leaves out what it cannot use."""

MICRONS = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "in": 25_400.0,
}

Mpp = tuple[float, float]


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
    if not _plausible(found):
        odd = f"states {found[0]:.4g} microns per pixel, which no slide has"
        return None, None, odd
    return found, "file", _oddity(properties, found)


def ome_mpp(xml: str, width: int, height: int) -> Mpp | None:
    """Return the microns per pixel of the image of a size that OME-XML describes."""
    for pixels in re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", xml):
        found = dict(re.findall(r'\b(\w+)="([^"]*)"', pixels))
        if (found.get("SizeX"), found.get("SizeY")) != (str(width), str(height)):
            continue
        try:
            x, y = (
                float(found[f"PhysicalSize{axis}"])
                * MICRONS[found.get(f"PhysicalSize{axis}Unit", "µm")]
                for axis in "XY"
            )
        except (KeyError, ValueError):
            continue
        return x, y
    return None


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
