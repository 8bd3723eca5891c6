"""What the bag pooling of section 2.3 looks at on the slide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from napari_harm3.models.interface import Prediction
from napari_harm3.wsi.bags import read_bag

COLD, HOT = np.array([60, 80, 200]), np.array([230, 60, 40])


def patch_attention(prediction: Prediction) -> Float[np.ndarray, "B N"]:
    """Return each patch's share of the attention: the mean over the pooled tokens.

    The shares of a case add up to one; padding has none.
    """
    pooling = prediction.attn["pooling"]
    return pooling.detach().float().mean(dim=1).cpu().numpy()


def attention_geojson(
    bags: Sequence[Path], shares: Float[np.ndarray, "N"]
) -> dict[str, Any]:
    """Return patches with their attention as GeoJSON; QuPath reads it.

    Parameters
    ----------
    bags
        The slides' feature files, in the order of the bag.
    shares
        Of all their patches.

    Returns
    -------
    :
        Rectangles in level-0 pixels, the property ``slide`` naming the slide; none of
        files that do not say where their patches lie.
    """
    features: list[dict[str, Any]] = []
    highest = max(float(shares.max()), 1e-12) if len(shares) else 1.0
    start = 0
    for path in bags:
        bag = read_bag(path)
        side = bag.attributes.get(
            "patch_level0_px", [bag.attributes.get("patch_px")] * 2
        )
        own = shares[start : start + len(bag.features)]
        start += len(bag.features)
        if bag.coords is None:
            continue
        for (x, y), share in zip(bag.coords.tolist(), own.tolist(), strict=True):
            features.append(
                _rectangle(x, y, side, share, share / highest, bag.attributes)
            )
    return {"type": "FeatureCollection", "features": features}


def _rectangle(
    x: int,
    y: int,
    side: Sequence[float],
    share: float,
    level: float,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    right, bottom = x + side[0], y + side[1]
    ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
    colour = np.rint(COLD + (HOT - COLD) * level).astype(int).tolist()
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "tile",
            "slide": about.get("slide_name"),
            "measurements": {"attention": share, "relative": level},
            "color": colour,
        },
    }
