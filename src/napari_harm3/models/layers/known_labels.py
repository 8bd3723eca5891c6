"""A loss over the cases of a batch whose label is known."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_harm3.models.layers.masked_mean import masked_mean


def known_cross_entropy(
    logit: Float[Tensor, "B"], label: Float[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of the cases whose label is known."""
    terms = binary_cross_entropy_with_logits(
        logit.float(), label.nan_to_num(), reduction="none"
    )
    return masked_mean(terms, ~label.isnan())
