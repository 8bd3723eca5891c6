"""A prepared case as arrays, and a set of them for training."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.random import default_rng

from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.data.clinical import ClinicalEncoding
from napari_harm3.data.prepare import PreparedCase, load_masks, load_mri
from napari_harm3.data.slides import read_bags
from napari_harm3.mri.augment import augmented
from napari_harm3.mri.config import AugmentConfig
from napari_harm3.mri.resampling import Transform
from napari_harm3.wsi.features import Bag

PATTERNS: Mapping[str, Collection[str]] = {
    "wsi": {"wsi"},
    "t1": {"t1_pre", "t1_post"},
    "t2": {"t2_pre", "t2_post"},
    "pre": {"t1_pre", "t2_pre"},
    "post": {"t1_post", "t2_post"},
    "mri": set(ROLES),
}
"""What modality dropout takes from a case, one at a time."""

FALLBACK_SIDE_UM = 112.0
"""Side of a patch whose file does not say it: 224 pixels at 0.5 microns."""


@dataclass(frozen=True, kw_only=True)
class CaseItem:
    """One case as arrays; absent inputs are None."""

    case: Case
    mri: Float[np.ndarray, "S T D H W"] | None
    available: Bool[np.ndarray, "S T"]
    aligned: bool
    features: Float[np.ndarray, "N D"] | None
    centres_um: Float[np.ndarray, "N 2"] | None
    affine: Float[np.ndarray, "4 4"]
    """Of the common grid, from z, y, x to RAS mm."""

    transforms: Mapping[str, Transform] = field(default_factory=dict)
    """From there to each role's own space, where a registration moved it."""

    masks: UInt8[np.ndarray, "S T D H W"] | None = None
    """Annotations on the common grid; an absent one is all zero."""

    clinical: Float[np.ndarray, "c"] | None = None
    """Columns of the cohort table as numbers; NaN where one is blank."""

    @property
    def annotated(self) -> Bool[np.ndarray, "S T"]:
        """Which volumes have an annotation, if only one that marks nothing."""
        there = [self.masks is not None and role in self.case.masks for role in ROLES]
        return np.array(there).reshape(2, 2) & self.available

    def without(self, dropped: str) -> "CaseItem":
        """Return the case as if it lacked one of `PATTERNS`."""
        if dropped == "wsi":
            return replace(self, features=None, centres_um=None)
        if self.mri is None:
            return self
        gone = np.array([role in PATTERNS[dropped] for role in ROLES])
        left = self.available & ~gone.reshape(2, 2)
        mri = np.where(left[..., None, None, None], self.mri, np.float32(0))
        return replace(self, mri=mri, available=left)


def load_item(
    prepared: PreparedCase,
    *,
    reads: Collection[str] = ("mri", "wsi", "annotation"),
    clinical: ClinicalEncoding | None = None,
) -> CaseItem:
    """Return a case's volumes and the patches of all its slides in one bag.

    Parameters
    ----------
    prepared
        Where they lie.
    reads
        What is read of ``mri``, ``wsi`` and ``annotation``; the rest is as if absent.
    clinical
        How the columns of the cohort table are read, for who looks at them.

    Raises
    ------
    FeatureError
        If a bag cannot be read, or two have patches of different width.
    """
    mri, masks = None, None
    if prepared.mri is not None and "mri" in reads:
        mri = load_mri(prepared.mri)
        if prepared.masks is not None and "annotation" in reads:
            masks = load_masks(prepared.masks)
    bags = read_bags(prepared.bags if "wsi" in reads else ())
    features = np.concatenate([bag.features for bag in bags]) if bags else None
    # What the table says of a slide counts where its bag does not say it.
    stated = [*prepared.case.slide_mpp, *[None] * len(bags)]
    places = [_centres_um(*one) for one in zip(bags, stated, strict=False)]
    centres = np.concatenate(places) if bags else None
    return CaseItem(
        case=prepared.case,
        mri=None if mri is None else np.asarray(mri.array),
        available=np.zeros((2, 2), bool) if mri is None else mri.available,
        aligned=False if mri is None else mri.aligned,
        features=features if features is not None and len(features) else None,
        centres_um=centres,
        affine=np.eye(4) if mri is None else mri.affine,
        transforms={} if mri is None else mri.transforms,
        masks=masks,
        clinical=None if clinical is None else clinical.of(prepared.case),
    )


def _centres_um(bag: Bag, stated_mpp: float | None) -> Float[np.ndarray, "n 2"]:
    """Return where patches lie; NaN where neither file nor table says it."""
    if bag.coords is None:
        return np.full((len(bag.features), 2), np.nan, np.float32)
    attributes: Mapping[str, Any] = bag.attributes
    unsaid = np.nan if stated_mpp is None else stated_mpp
    mpp = np.array([attributes.get(name, unsaid) for name in ("mpp_x", "mpp_y")])
    side = np.array(attributes.get("patch_level0_px", FALLBACK_SIDE_UM / mpp))
    return np.asarray((bag.coords + side / 2) * mpp, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a case differs from epoch to epoch; keyed by (seed, epoch, case) alone."""

    seed: int
    augment: AugmentConfig
    patch_keep: tuple[float, float]
    """Least and largest share of a bag that a step sees."""

    patch_cap: int
    """Most patches of a bag that a step sees."""

    modality_dropout: float = 0.0
    """Chance that a case is shown without one of `PATTERNS`."""

    def of(self, item: CaseItem, epoch: int) -> CaseItem:
        """Return the case as an epoch sees it."""
        key = [self.seed, epoch, *item.case.case_id.encode()]
        rng = default_rng(key)
        if self.modality_dropout:
            # From a stream of its own: all else is drawn as without dropout.
            item = self._dropped(item, default_rng([*key, 1]))
        if item.mri is not None:
            mri, masks = augmented(item.mri, self.augment, rng, item.masks)
            item = replace(item, mri=mri, masks=masks)
        if item.features is None or item.centres_um is None:
            return item
        count = len(item.features)
        keep = int(np.ceil(rng.uniform(*self.patch_keep) * count))
        chosen = np.sort(rng.permutation(count)[: min(keep, self.patch_cap)])
        return replace(
            item, features=item.features[chosen], centres_um=item.centres_um[chosen]
        )

    def _dropped(self, item: CaseItem, rng: np.random.Generator) -> CaseItem:
        """Return the case without an input, if that is drawn and leaves it another."""
        if rng.random() >= self.modality_dropout:
            return item
        left = item.without(str(rng.choice(list(PATTERNS))))
        nothing = left.features is None and not left.available.any()
        return item if nothing else left
