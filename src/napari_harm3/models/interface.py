"""What every network takes and gives: a batch of cases in, logits out.

Axis letters: B cases, S sequences (t1, t2), T time points (pre, post), N patches of
a bag, W width of a patch's features; D, H, W the volume grid (z, y, x).
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CaseBatch:
    """Cases as tensors; what is absent is zero *and* marked as unavailable."""

    mri: Float[Tensor, "B S T 1 D H W"]
    mri_avail: Bool[Tensor, "B S T"]
    wsi: Float[Tensor, "B N Dw"]
    wsi_mask: Bool[Tensor, "B N"]
    """True where a row of the bag is a patch, False where it is padding."""

    wsi_coords: Float[Tensor, "B N 2"]
    """Centre of each patch in micrometres from its slide's level-0 origin."""

    wsi_avail: Bool[Tensor, "B"]
    label: Float[Tensor, "B"]
    """1 = pCR, 0 = none, NaN = not known."""

    aligned: Bool[Tensor, "B"]
    """True where pre and post share a grid or a recorded transform."""

    tumour_mask: Float[Tensor, "B S T 1 D H W"] | None = None
    """1 where any lesion is marked, on the grid of ``mri``; for training alone."""

    tumour_mask_avail: Bool[Tensor, "B S T"] | None = None
    """True where a volume was annotated, if only to say that it shows no lesion."""

    clinical: Float[Tensor, "B c"] | None = None
    """Columns of the cohort table as numbers, NaN where blank; the network scales
    them."""

    def to(self, device: torch.device | str) -> "CaseBatch":
        """Return the batch on a device."""
        moved: dict[str, Any] = {
            item.name: value.to(device, non_blocking=True)
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), Tensor)
        }
        return replace(self, **moved)

    def repeated(self, row: int, count: int) -> "CaseBatch":
        """Return one case so many times over; its tensors share their memory."""
        rows: dict[str, Any] = {
            item.name: value[row : row + 1].expand(count, *value.shape[1:])
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), Tensor)
        }
        return replace(self, **rows)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of a batch."""

    logit: Float[Tensor, "B"]
    """Log-odds of pCR."""

    losses: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    """Unweighted auxiliary terms, by name; the objective weighs them, and refuses one
    that has no weight."""

    logged: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    """Figures by name that are only logged, beside the losses."""

    attn: dict[str, Tensor] = field(default_factory=dict)
    """``pooling`` [B, k, N], ``cross`` [B, k, M] and ``mri_mask`` [B, M], which MRI
    tokens are of present volumes; where the network has them."""

    latents: dict[str, Tensor] = field(default_factory=dict)
    """What the health log needs, by name."""

    feature_maps: dict[str, Float[Tensor, "B C d h w"]] = field(default_factory=dict)
    """Output of the encoder's last convolutional layer by role (``t1_pre`` ...), in
    the graph, so that a heat map needs no hook. Rows of absent volumes are zero. A
    network that stacks volumes as channels has one map, which stands under each."""


class Network(Protocol):
    """A registered network.

    It may have ``l1()``, the norm of section 3.2, and ``loss_weights``: what its
    auxiliary losses weigh, by name, where they are not HARM3's; ``bce`` is the
    classification's own.
    """

    def __call__(self, batch: CaseBatch) -> Prediction:
        """Return the prediction for a batch."""
        ...
