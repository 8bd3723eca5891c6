"""LD-VAE, the loss-enhanced dual-stream convolutional VAE: section 2.1, Eq. (1)-(3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from napari_harm3.models.harm3.config import Harm3Config

Maps = Float[Tensor, "B C d h w"]
Tokens = Float[Tensor, "B N C"]

QUIET = -4.0
"""Log-variance of the latent at first: noise of an eighth of a standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Latent:
    """One time point of one sequence, as tokens."""

    features: Float[Tensor, "B N C"]
    """X of Eq. (1), normalised per token."""

    mean: Float[Tensor, "B n Z"]
    log_variance: Float[Tensor, "B n Z"]
    inherent: Float[Tensor, "B n Zi"]
    variant: Float[Tensor, "B n Zv"]


class VaeBranch(nn.Module):
    """Encoder E_i, decoder D_i and the split of one time point.

    It begins as a passage: its layers change nothing, and the noise is small. The two
    GELUs on the way remain: what stands out of a token goes through, what lies below
    its mean is mostly lost. Drawn at random, its layers and a unit of noise leave next
    to nothing of what was seen, and there is an easier way to a low loss: by the slide.
    """

    def __init__(self, config: Harm3Config) -> None:
        super().__init__()
        width = config.width
        half = width // 2
        self.pooled = config.latent == "global"
        self.encode = nn.Sequential(_convolution(config.vae_kernel, width), nn.GELU())
        self.to_mean = _passage(nn.Conv3d(width, width, 1))
        self.to_log_variance = _quiet(nn.Conv3d(width, width, 1))
        first, second = torch.eye(width).chunk(2)
        self.to_inherent: nn.Module = _linear(first)
        self.to_variant: nn.Module = _linear(second)
        if config.split == "chunk":
            self.to_inherent, self.to_variant = _Half(0, half), _Half(half, width)
        self.join = _linear(torch.eye(width))
        self.decode = nn.Sequential(nn.GELU(), _convolution(config.vae_kernel, width))
        self.out = _passage(nn.Conv3d(width, width, 1))

    def forward(self, maps: Maps, *, sample: bool) -> Latent:
        """Return the latent of Eq. (1) and its two parts, Eq. (2)."""
        features = normalised_tokens(maps)
        hidden = self.encode(untoken(features, maps.shape[2:]))
        if self.pooled:
            hidden = hidden.mean(dim=(2, 3, 4), keepdim=True)
        mean = tokens_of(self.to_mean(hidden))
        # Bounded, so that an early step cannot overflow the exponential.
        log_variance = tokens_of(self.to_log_variance(hidden)).clamp(-10, 10)
        z = mean
        if sample:
            # In the order of rows and tokens, whatever lies in memory: what a case
            # draws depends on its row in the batch.
            noise = torch.randn_like(mean, memory_format=torch.contiguous_format)
            z = mean + noise * (log_variance / 2).exp()
        return Latent(
            features=features,
            mean=mean,
            log_variance=log_variance,
            inherent=self.to_inherent(z),
            variant=self.to_variant(z),
        )

    def reconstruct(
        self, inherent: Tokens, variant: Tokens, grid: Sequence[int]
    ) -> Tokens:
        """Return D_i of an inherent part (of any time) and its own variant part."""
        joined = self.join(torch.cat([inherent, variant], dim=-1))
        joined = joined.expand(-1, math.prod(grid), -1)
        return tokens_of(self.out(self.decode(untoken(joined, grid))))


@dataclass(frozen=True, kw_only=True)
class Decoupled:
    """What the LD-VAE makes of one sequence; each list is pre, then post."""

    own: list[Tokens]
    """D_i of the inherent part of i: F_temporal of Eq. (3) before it is joined."""

    latents: list[Latent]


class LdVae(nn.Module):
    """Two branches, pre and post."""

    def __init__(self, config: Harm3Config) -> None:
        super().__init__()
        self.pre, self.post = VaeBranch(config), VaeBranch(config)

    def forward(self, maps: tuple[Maps, Maps]) -> Decoupled:
        """Return each time's latent, and what its own parts make of it."""
        own, latents = [], []
        for branch, one in zip((self.pre, self.post), maps, strict=True):
            latent = branch(one, sample=self.training)
            grid = one.shape[2:]
            own.append(branch.reconstruct(latent.inherent, latent.variant, grid))
            latents.append(latent)
        return Decoupled(own=own, latents=latents)

    def crossed(
        self,
        latents: Sequence[Latent],
        by_token: Bool[Tensor, "B"],
        grid: Sequence[int],
    ) -> list[Tokens]:
        """Return D_i of the inherent part of the other time, for Eq. (4).

        Parameters
        ----------
        latents
            Of pre and post.
        by_token
            For which cases the times can be compared token by token; for others the
            other's inherent part is pooled.
        grid
            Cells of a map.
        """
        found = []
        for time, branch in enumerate((self.pre, self.post)):
            lent = latents[1 - time].inherent
            pooled = lent.mean(dim=1, keepdim=True).expand_as(lent)
            lent = torch.where(by_token[:, None, None], lent, pooled)
            found.append(branch.reconstruct(lent, latents[time].variant, grid))
        return found


def tokens_of(maps: Maps) -> Tokens:
    """Return a map as tokens; the cells run x fastest, then y, then z."""
    return maps.flatten(2).transpose(1, 2)


def untoken(tokens: Tokens, grid: Sequence[int]) -> Maps:
    """Return tokens as the map they came from."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


def normalised_tokens(maps: Maps) -> Tokens:
    """Return tokens of zero mean and unit variance.

    Eq. (4) measures distances between features that are themselves learned; on a
    free scale they would shrink instead of being explained.
    """
    tokens = tokens_of(maps)
    return layer_norm(tokens, tokens.shape[-1:])


class _Half(nn.Module):
    """A slice of the latent, for the split without fully connected layers."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, latent: Tokens) -> Tokens:
        return latent[..., self.start : self.stop]


def _convolution(kernel: str, width: int) -> nn.Conv3d:
    if kernel == "pointwise":
        return _passage(nn.Conv3d(width, width, 1))
    groups = width if kernel == "depthwise" else 1
    return _passage(nn.Conv3d(width, width, 3, padding=1, groups=groups))


def _passage(layer: nn.Conv3d) -> nn.Conv3d:
    """Return a convolution that begins by changing nothing."""
    nn.init.dirac_(layer.weight, layer.groups)
    layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    return layer


def _quiet(layer: nn.Conv3d) -> nn.Conv3d:
    """Return a convolution that begins as one constant log-variance."""
    nn.init.zeros_(layer.weight)
    layer.bias = nn.Parameter(torch.full((layer.out_channels,), QUIET))
    return layer


def _linear(weight: Float[Tensor, "out in"]) -> nn.Linear:
    """Return a fully connected layer that begins with these weights."""
    out, into = weight.shape
    layer = nn.Linear(into, out)
    layer.weight.data.copy_(weight)
    nn.init.zeros_(layer.bias)
    return layer
