"""Cases of different bags and inputs as one batch."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from napari_harm3.data.dataset import CaseItem
from napari_harm3.models.interface import CaseBatch


def collate(
    items: Sequence[CaseItem], *, volume_size: Sequence[int], patch_width: int
) -> CaseBatch:
    """Return cases as a batch; what is absent is zero and marked.

    Parameters
    ----------
    items
        At least one case.
    volume_size
        Voxels of the common grid along z, y, x.
    patch_width
        Features of a patch.
    """
    count = len(items)
    longest = max([1, *(len(i.features) for i in items if i.features is not None)])
    mri = np.zeros((count, 2, 2, 1, *volume_size), np.float32)
    bags = np.zeros((count, longest, patch_width), np.float32)
    mask = np.zeros((count, longest), bool)
    centres = np.zeros((count, longest, 2), np.float32)
    for number, item in enumerate(items):
        if item.mri is not None:
            mri[number, :, :, 0] = item.mri
        if item.features is not None and item.centres_um is not None:
            patches = len(item.features)
            bags[number, :patches] = item.features
            centres[number, :patches] = item.centres_um
            mask[number, :patches] = True
    columns = [item.clinical for item in items if item.clinical is not None]
    labels = [math.nan if i.case.pcr is None else float(i.case.pcr) for i in items]
    return CaseBatch(
        mri=torch.from_numpy(mri),
        mri_avail=torch.from_numpy(np.stack([item.available for item in items])),
        wsi=torch.from_numpy(bags),
        wsi_mask=torch.from_numpy(mask),
        wsi_coords=torch.from_numpy(centres),
        wsi_avail=torch.from_numpy(mask.any(axis=1)),
        label=torch.tensor(labels),
        aligned=torch.tensor([item.aligned for item in items]),
        **_annotations(items, volume_size),
        clinical=torch.from_numpy(np.stack(columns)) if columns else None,
    )


def _annotations(
    items: Sequence[CaseItem], volume_size: Sequence[int]
) -> dict[str, torch.Tensor]:
    """Return where lesions are marked, if any case was read with its annotations."""
    if all(item.masks is None for item in items):
        return {}
    marked = np.zeros((len(items), 2, 2, 1, *volume_size), np.float32)
    for number, item in enumerate(items):
        if item.masks is not None:
            marked[number, :, :, 0] = item.masks > 0
    annotated = np.stack([item.annotated for item in items])
    return {
        "tumour_mask": torch.from_numpy(marked),
        "tumour_mask_avail": torch.from_numpy(annotated),
    }
