"""A mean over what is there."""

import torch

from napari_harm3.models.layers.masked_mean import masked_mean

VALUES = torch.tensor([[1.0, torch.nan], [3.0, 7.0], [torch.nan, torch.nan]])


def test_what_is_masked_has_no_say_and_nothing_is_zero() -> None:
    mask = ~VALUES.isnan()

    assert masked_mean(VALUES, mask) == 11 / 3
    assert masked_mean(VALUES, mask, dim=1).tolist() == [1, 5, 0]
    assert masked_mean(VALUES, mask & False) == 0
