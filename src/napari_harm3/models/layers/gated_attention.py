"""How much each patch of a bag counts.

Reference: Ilse et al., Attention-based deep multiple instance learning, ICML 2018.
"""

from jaxtyping import Float
from torch import Tensor, nn


class GatedAttention(nn.Module):
    """Scores patches one by one; their softmax over the bag is the attention.

    Parameters
    ----------
    width
        Features of a patch.
    hidden
        Width of the scoring network.
    rows
        Scores of a patch: one, or one a class.
    gated
        Multiply the tanh by a sigmoid, Eq. (9) of the reference; else Eq. (8).
    """

    def __init__(
        self, *, width: int, hidden: int, rows: int = 1, gated: bool = True
    ) -> None:
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(width, hidden), nn.Tanh())
        self.gate: nn.Module | None = None
        if gated:
            self.gate = nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid())
        # Its bias would cancel in the softmax.
        self.score = nn.Linear(hidden, rows, bias=False)

    def forward(self, patches: Float[Tensor, "... n C"]) -> Float[Tensor, "... k n"]:
        """Return the scores before the softmax."""
        hidden = self.feature(patches)
        if self.gate is not None:
            hidden = hidden * self.gate(patches)
        return self.score(hidden).mT
