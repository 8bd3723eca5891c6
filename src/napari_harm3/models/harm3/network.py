"""HARM3-Fusion as a whole: Fig. 1 of the paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from napari_harm3.models.harm3.config import Harm3Config
from napari_harm3.models.harm3.encoder import ResNet3d
from napari_harm3.models.harm3.ld_vae import Latent, LdVae, normalised_tokens
from napari_harm3.models.harm3.losses import (
    contrastive_error,
    kl_divergence,
    masked_mean,
    reconstruction_error,
    variant_cosine,
)
from napari_harm3.models.harm3.modality_fusion import (
    BagPooling,
    CrossAttention,
    PredictionHead,
)
from napari_harm3.models.harm3.sequence_fusion import (
    Grid,
    RelativePosition,
    SequenceFusion,
)
from napari_harm3.models.interface import CaseBatch, Prediction

SEQUENCES, TIMES = ("t1", "t2"), ("pre", "post")


@dataclass(frozen=True, kw_only=True)
class SequenceOutcome:
    """What section 2.1 makes of one sequence."""

    tokens: Float[Tensor, "B n C"]
    """F_temporal of Eq. (3)."""

    mask: Bool[Tensor, "B n"]
    maps: tuple[Tensor, Tensor]
    """X of pre and post as maps, in the graph."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    """Per case: reconstruction, kl, contrast; own and cross for the log."""

    latents: tuple[Latent, ...] = ()


class Harm3(nn.Module):
    """Four volumes and a bag of patches in, the log-odds of pCR out.

    Parameters
    ----------
    config
        Every choice, the ablations of Table 2 among them.
    volume_size
        Voxels of the common grid along z, y, x.
    patch_width
        Features of a patch.
    """

    def __init__(
        self,
        config: Harm3Config,
        *,
        volume_size: Sequence[int],
        patch_width: int,
    ) -> None:
        super().__init__()
        self.config = config
        width = config.width
        copies = 1 if config.share_sequences else len(SEQUENCES)
        times = 1 if config.share_times else len(TIMES)
        self.encoders = nn.ModuleList([_encoder(config) for _ in range(copies * times)])
        self.vaes = nn.ModuleList(
            [LdVae(config) for _ in range(copies if config.ld_vae else 0)]
        )
        self.token_grid = token_grid(config, volume_size)
        streams = 2 if config.temporal == "sum" else 4
        self.sequence_fusion: SequenceFusion | None = None
        if config.attention_1:
            position = None
            if config.relative_position:
                position = RelativePosition(
                    grid=self.token_grid, streams=streams, heads=config.sequence_heads
                )
            self.sequence_fusion = SequenceFusion(
                width=width,
                heads=config.sequence_heads,
                layers=config.sequence_layers,
                position=position,
            )
        self.pooling = BagPooling(
            patch_width=patch_width,
            width=width,
            tokens=config.wsi_tokens,
            heads=config.pooling_heads,
        )
        self.modality_fusion: CrossAttention | None = None
        if config.attention_2:
            self.modality_fusion = CrossAttention(
                width=width, heads=config.cross_heads, residual=config.residual_query
            )
        self.head = PredictionHead(
            width=width, hidden=config.head_width, dropout=config.dropout
        )

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction, its losses, and what explains it."""
        outcomes = [self._sequence(batch, number) for number in range(len(SEQUENCES))]
        mri = torch.cat([outcome.tokens for outcome in outcomes], dim=1)
        mask = torch.cat([outcome.mask for outcome in outcomes], dim=1)
        if self.sequence_fusion is not None:
            mri = self.sequence_fusion(mri, mask)
        slide, pooling = self.pooling(batch.wsi, batch.wsi_mask, batch.wsi_avail)
        attention = {"pooling": pooling}
        if self.modality_fusion is not None:
            fused, attention["cross"] = self.modality_fusion(slide, mri, mask)
        else:
            fused = torch.cat([mri * mask[..., None], slide], dim=1)
        return Prediction(
            logit=self.head(fused),
            losses=self._losses(outcomes),
            attn=attention,
            latents=self._latents(batch, outcomes),
            feature_maps={
                f"{sequence}_{time}": outcome.maps[number]
                for sequence, outcome in zip(SEQUENCES, outcomes, strict=True)
                for number, time in enumerate(TIMES)
            },
        )

    def l1(self) -> Float[Tensor, ""]:
        """Return the L1 norm of section 3.2, over the fusion's and head's matrices.

        Over the encoder's millions of weights it would outweigh every other term.
        """
        parts = [self.sequence_fusion, self.pooling, self.modality_fusion, self.head]
        weights = [
            weight.abs().sum()
            for part in parts
            if part is not None
            for weight in part.parameters()
            if weight.ndim > 1
        ]
        return torch.stack(weights).sum()

    def _sequence(self, batch: CaseBatch, number: int) -> SequenceOutcome:
        available = batch.mri_avail[:, number]
        maps = self._maps(batch.mri[:, number], available, number)
        if not self.vaes:
            tokens = [normalised_tokens(one) for one in maps]
            return self._merged(tokens, available, maps)
        vae = self.vaes[number % len(self.vaes)]
        own, crossed, latents = vae(maps, batch.aligned)
        losses = self._sequence_losses(batch, available, own, crossed, latents)
        merged = self._merged(own, available, maps)
        return replace(merged, losses=losses, latents=tuple(latents))

    def _maps(
        self,
        volumes: Float[Tensor, "B T 1 D H W"],
        available: Bool[Tensor, "B T"],
        number: int,
    ) -> tuple[Tensor, Tensor]:
        """Return X of both times; only present volumes pass the encoder.

        The times are stacked along the batch, so that a shared encoder runs once and
        its batch norm sees both.
        """
        copies = len(self.encoders) // (1 if self.config.share_times else 2)
        first = (number % copies) * (1 if self.config.share_times else 2)
        if self.config.share_times:
            rows = self._encode(self.encoders[first], volumes, available)
            return rows[:, 0], rows[:, 1]
        pre, post = (
            self._encode(
                self.encoders[first + time],
                volumes[:, time : time + 1],
                available[:, time : time + 1],
            )[:, 0]
            for time in range(len(TIMES))
        )
        return pre, post

    def _encode(
        self,
        encoder: nn.Module,
        volumes: Float[Tensor, "B t 1 D H W"],
        available: Bool[Tensor, "B t"],
    ) -> Float[Tensor, "B t C d h w"]:
        present = available.flatten()
        shape = (*present.shape, self.config.width, *self.token_grid)
        maps = volumes.new_zeros(shape)
        if present.any():
            maps[present] = encoder(volumes.flatten(0, 1)[present]).to(maps.dtype)
        return maps.reshape(*available.shape, *shape[1:])

    def _merged(
        self,
        tokens: Sequence[Tensor],
        available: Bool[Tensor, "B T"],
        maps: tuple[Tensor, Tensor],
    ) -> SequenceOutcome:
        """Return Eq. (3): the times side by side, or added up."""
        present = [
            one * available[:, time, None, None] for time, one in enumerate(tokens)
        ]
        if self.config.temporal == "sum":
            merged, mask = present[0] + present[1], available.any(dim=1, keepdim=True)
        else:
            merged, mask = torch.cat(present, dim=1), available
        return SequenceOutcome(
            tokens=merged,
            mask=mask.repeat_interleave(math.prod(self.token_grid), dim=1),
            maps=maps,
        )

    def _sequence_losses(
        self,
        batch: CaseBatch,
        available: Bool[Tensor, "B T"],
        own: Sequence[Tensor],
        crossed: Sequence[Tensor],
        latents: Sequence[Latent],
    ) -> dict[str, Tensor]:
        """Return Eq. (4) and (5) per case; what a missing time would need is NaN."""
        both = available.all(dim=1)
        mine = _over_times(
            [
                reconstruction_error(rebuilt, latent.features, self.config)
                for rebuilt, latent in zip(own, latents, strict=True)
            ],
            available,
        )
        theirs = _over_times(
            [
                reconstruction_error(rebuilt, latent.features, self.config)
                for rebuilt, latent in zip(crossed, latents, strict=True)
            ],
            available & both[:, None],
        )
        pre, post = latents
        absent = torch.full_like(mine, math.nan)
        contrast = contrastive_error(pre, post, batch.aligned, batch.label, self.config)
        cosine = variant_cosine(pre, post, batch.aligned, self.config).mean(dim=1)
        return {
            "own": mine,
            "cross": theirs,
            # Own and crossed terms weigh the same; without the other time, own only.
            "reconstruction": torch.where(both, (mine + theirs.nan_to_num()) / 2, mine),
            "kl": _over_times(
                [kl_divergence(z, self.config) for z in latents], available
            ),
            "contrast": torch.where(both, contrast, absent),
            "cosine": torch.where(both, cosine.detach(), absent),
        }

    def _losses(self, outcomes: Sequence[SequenceOutcome]) -> dict[str, Tensor]:
        if not self.vaes:
            return {}
        names = ("reconstruction", "kl", "contrast", "own", "cross")
        stacked = {
            name: torch.stack([outcome.losses[name] for outcome in outcomes])
            for name in names
        }
        return {
            name: masked_mean(values.nan_to_num(), ~values.isnan())
            for name, values in stacked.items()
        }

    def _latents(
        self, batch: CaseBatch, outcomes: Sequence[SequenceOutcome]
    ) -> dict[str, Tensor]:
        """Return what the health of the LD-VAE is read from."""
        if not self.vaes:
            return {}
        means = [
            torch.stack([z.mean.mean(dim=1) for z in o.latents], dim=1)
            for o in outcomes
        ]
        features = [
            torch.stack([one.mean(dim=(2, 3, 4)) for one in o.maps], dim=1)
            for o in outcomes
        ]
        cosines = torch.stack([o.losses["cosine"] for o in outcomes], dim=1)
        return {
            "mean": torch.stack(means, dim=1).detach(),
            "features": torch.stack(features, dim=1).detach(),
            "variant_cosine": cosines.nanmean(dim=1).detach(),
            "available": batch.mri_avail,
        }


def token_grid(config: Harm3Config, volume_size: Sequence[int]) -> Grid:
    """Return the cells of a feature map along z, y, x."""
    d, h, w = (
        math.ceil(size / stride)
        for size, stride in zip(volume_size, config.output_stride, strict=True)
    )
    return d, h, w


def _encoder(config: Harm3Config) -> nn.Module:
    encoder = ResNet3d(
        depth=config.encoder_depth,
        base_channels=config.base_channels,
        output_stride=config.output_stride,
        norm=config.norm,
    )
    if encoder.out_channels == config.width:
        return encoder
    return nn.Sequential(encoder, nn.Conv3d(encoder.out_channels, config.width, 1))


def _over_times(
    values: Sequence[Float[Tensor, "B"]], available: Bool[Tensor, "B T"]
) -> Float[Tensor, "B"]:
    """Return the mean over the present times; NaN where there is none."""
    kept = torch.where(available, torch.stack(list(values), dim=1), 0.0)
    return kept.sum(dim=1) / available.sum(dim=1)
