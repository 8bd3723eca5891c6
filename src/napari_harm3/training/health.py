"""Whether the LD-VAE is alive: figures of an epoch for the log."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ACTIVE_VARIANCE = 0.01
"""A latent whose mean varies less over the cases carries nothing."""

LIMITS: Mapping[str, tuple[float, float]] = {
    "active_units": (0.9, 1.0),
    "cross_over_own": (0.0, 1.1),
    "feature_variance": (0.5, float("inf")),
    "variant_cosine": (-0.95, 0.95),
}
"""Between which figures a healthy LD-VAE lies."""


class Health:
    """Gathers the latents of an epoch's steps; only their moments are held."""

    def __init__(self) -> None:
        self._means, self._features = _Moments(), _Moments()
        self._cosines: list[Tensor] = []

    def add(self, latents: Mapping[str, Tensor]) -> None:
        """Take in the latents of a batch; a network without them has no health."""
        if "mean" not in latents:
            return
        present = latents["available"].flatten()
        self._means.add(latents["mean"], present)
        self._features.add(latents["features"], present)
        applies = latents["variant_cosine_mask"]
        self._cosines.append(latents["variant_cosine"][applies].detach().float().cpu())

    def figures(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Return the epoch's figures, by the names of `LIMITS`."""
        if not self._cosines:
            return {}
        cosines = torch.cat(self._cosines)
        own = losses.get("own", 0.0)
        active = self._means.variance() > ACTIVE_VARIANCE
        return {
            "active_units": float(active.double().mean()),
            "cross_over_own": losses.get("cross", 0.0) / own if own else 1.0,
            "feature_variance": float(self._features.variance().mean()),
            "variant_cosine": float(cosines.mean()) if len(cosines) else 0.0,
        }


def unhealthy(figures: Mapping[str, float]) -> list[str]:
    """Return, in words, which figures lie outside their limits."""
    return [
        f"{name} {figures[name]:.2f}"
        for name, (low, high) in LIMITS.items()
        if name in figures and not low <= figures[name] <= high
    ]


class _Moments:
    """Variance of each channel over the tokens of present volumes."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor = torch.zeros(())
        self.squares: Tensor = torch.zeros(())

    def add(
        self, latent: Float[Tensor, "B S T n Z"], present: Bool[Tensor, "BST"]
    ) -> None:
        rows = latent.detach().flatten(0, 2)[present].flatten(0, 1).double()
        self.count += len(rows)
        self.total = self.total + rows.sum(dim=0).cpu()
        self.squares = self.squares + rows.square().sum(dim=0).cpu()

    def variance(self) -> Float[Tensor, "Z"]:
        mean = self.total / max(self.count, 1)
        return self.squares / max(self.count, 1) - mean.square()
