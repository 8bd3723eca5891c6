"""A loss over the cases of a batch whose label is known."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def known_cross_entropy(
    logit: Float[Tensor, "B"], label: Float[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of the cases whose label is known."""
    known = ~label.isnan()
    terms = binary_cross_entropy_with_logits(
        logit.float(), label.nan_to_num(), reduction="none"
    )
    return (terms * known).sum() / known.sum().clamp(min=1)
