"""Whether the LD-VAE is alive: figures of an epoch for the log."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ACTIVE_VARIANCE = 0.003
"""A latent whose mean varies less over the cases carries nothing."""

LIMITS: Mapping[str, tuple[float, float]] = {
    "active_units": (0.9, 1.0),
    "cross_over_own": (0.0, 1.1),
    "feature_variance": (0.5, float("inf")),
    "variant_cosine": (-0.95, 0.95),
}
"""Between which figures a healthy LD-VAE lies.

Measured on 80 made-up cases at size `small`: in three healthy runs all units were
active, or all but a few; in one that collapses, with a trainable target, 0.27.
"""


class Health:
    """Gathers the latents of an epoch's steps; only their moments are held."""

    def __init__(self) -> None:
        self._means, self._features = _Moments(), _Moments()
        self._cosines: list[Tensor] = []

    def add(self, latents: Mapping[str, Tensor]) -> None:
        """Take in the latents of a batch; a network without them has no health."""
        if "mean" not in latents:
            return
        present = latents["available"]
        self._means.add(latents["mean"], present)
        self._features.add(latents["features"], present)
        applies = latents["variant_cosine_mask"]
        self._cosines.append(latents["variant_cosine"][applies].detach().float().cpu())

    def figures(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Return the epoch's figures, by the names of `LIMITS`.

        Units are active if they tell the cases of a volume apart, of the worst of the
        four; the features' variance is that over everything.
        """
        if not self._cosines:
            return {}
        units = self._means.variance().mean(dim=1)  # of each volume and latent
        if not len(units):
            return {}
        cosines = torch.cat(self._cosines)
        own = losses.get("own", 0.0)
        active = (units > ACTIVE_VARIANCE).double().mean(dim=1)
        return {
            "active_units": float(active.min()),
            "cross_over_own": losses.get("cross", 0.0) / own if own else 1.0,
            "feature_variance": float(self._features.pooled().mean()),
            "variant_cosine": float(cosines.mean()) if len(cosines) else 0.0,
        }


def unhealthy(figures: Mapping[str, float]) -> list[str]:
    """Return, in words, which figures lie outside their limits."""
    return [
        f"{name} {figures[name]:.2f}, healthy {low:g} to {high:g}"
        for name, (low, high) in LIMITS.items()
        if name in figures and not low <= figures[name] <= high
    ]


class _Moments:
    """Sums over cases of each channel in each place of each volume."""

    def __init__(self) -> None:
        self.count: Tensor = torch.zeros(())
        self.total: Tensor = torch.zeros(())
        self.squares: Tensor = torch.zeros(())

    def add(
        self, latent: Float[Tensor, "B S T n Z"], present: Bool[Tensor, "B S T"]
    ) -> None:
        kept = latent.detach().where(present[..., None, None], 0).double()
        self.count = self.count + present.sum(dim=0).cpu()
        self.total = self.total + kept.sum(dim=0).cpu()
        self.squares = self.squares + kept.square().sum(dim=0).cpu()

    def variance(self) -> Float[Tensor, "volumes n Z"]:
        """Return the variance over the cases, of volumes that two have, or more.

        Places differ in every case alike: over them a latent varies that says nothing
        of the patient.
        """
        seen = self.count > 1
        count = self.count[seen][:, None, None]
        mean = self.total[seen] / count
        return self.squares[seen] / count - mean.square()

    def pooled(self) -> Float[Tensor, "Z"]:
        """Return the variance over cases, volumes and places."""
        places = self.total.shape[-2]
        count = (self.count.sum() * places).clamp(min=1)
        total, squares = self.total.flatten(0, -2), self.squares.flatten(0, -2)
        return squares.sum(dim=0) / count - (total.sum(dim=0) / count).square()
