"""Features of different scales on a common one, fitted on the training part."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAST_SPREAD = 1e-6
"""Below it a feature's variation is rounding error."""


class PatchScale(nn.Module):
    """Standardises every feature of a patch; until it is fitted it changes nothing.

    A transformer's output lies far from zero and varies little from patch to patch
    (0.12 around 0.8 with drawn weights), and a layer norm per patch keeps it so: a
    network that starts there sees equal patches and learns nothing from them.
    The scale is kept with the weights, so that no prediction can go without it.

    Parameters
    ----------
    width
        Features of a patch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def forward(self, bag: Float[Tensor, "... N D"]) -> Float[Tensor, "... N D"]:
        """Return the features in standard deviations from the training's mean."""
        # In place: a second array of a bag's size takes as long as the arithmetic.
        return (bag - self.centre).div_(self.spread)

    @torch.no_grad()
    def fit(self, centre: Float[Tensor, "D"], spread: Float[Tensor, "D"]) -> None:
        """Take over the mean and standard deviation of the training's patches.

        A feature that never varies is left on its own scale.
        """
        self.centre.copy_(centre)
        varies = spread > LEAST_SPREAD
        self.spread.copy_(torch.where(varies, spread, torch.ones_like(spread)))


class ClinicalScale(PatchScale):
    """The same for clinical columns, of which an unknown one stands at the mean."""

    def forward(self, columns: Float[Tensor, "B c"]) -> Float[Tensor, "B c"]:
        """Return the columns in standard deviations from the training's mean."""
        return super().forward(columns).nan_to_num()
