"""HARM3-Fusion as a whole: Fig. 1 of the paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from napari_harm3.cohort.case import SEQUENCES, TIMES
from napari_harm3.models.harm3.config import Harm3Config
from napari_harm3.models.harm3.ld_vae import Latent, LdVae, normalised_tokens
from napari_harm3.models.harm3.losses import (
    Term,
    compared_by_token,
    decoupling_terms,
    mean_over_cases,
)
from napari_harm3.models.harm3.modality_fusion import (
    BagPooling,
    ClinicalBranch,
    CrossAttention,
    LearnedQueries,
    PredictionHead,
)
from napari_harm3.models.harm3.sequence_fusion import (
    Grid,
    RelativePosition,
    SequenceFusion,
)
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.resnet3d import ResNet3d


@dataclass(frozen=True, kw_only=True)
class SequenceOutcome:
    """What section 2.1 makes of one sequence."""

    tokens: Float[Tensor, "B n C"]
    """F_temporal of Eq. (3)."""

    mask: Bool[Tensor, "B n"]
    maps: tuple[Tensor, Tensor]
    """X of pre and post as maps, in the graph."""

    terms: dict[str, Term] = field(default_factory=dict)
    """Eq. (4) and (5), case by case; in training alone."""

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
    clinical_width
        Numbers that stand for the clinical columns of a case.
    """

    def __init__(
        self,
        config: Harm3Config,
        *,
        volume_size: Sequence[int],
        patch_width: int,
        clinical_width: int = 0,
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
        self.sequence_fusion = _sequence_fusion(config, self.token_grid)
        self.absent: nn.Parameter | None = None
        if config.missing == "tokens":
            shape = (_streams(config) * math.prod(self.token_grid), width)
            self.absent = nn.Parameter(torch.randn(shape) / math.sqrt(width))
        self.pooling = _pooling(config, patch_width)
        self.modality_fusion: CrossAttention | None = None
        if config.attention_2:
            self.modality_fusion = CrossAttention(
                width=width, heads=config.cross_heads, residual=config.residual_query
            )
        self.head = PredictionHead(
            width=width,
            hidden=config.head_width,
            dropout=config.dropout,
            norm=config.norm,
        )
        self.clinical: ClinicalBranch | None = None
        if config.clinical:
            self.clinical = ClinicalBranch(clinical_width, config.head_width)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction, its losses, and what explains it."""
        outcomes = [self._sequence(batch, number) for number in range(len(SEQUENCES))]
        mri = torch.cat([outcome.tokens for outcome in outcomes], dim=1)
        mask = torch.cat([outcome.mask for outcome in outcomes], dim=1)
        if self.absent is not None:
            mri = torch.where(mask[..., None], mri, self.absent)
        if self.sequence_fusion is not None:
            mri = self.sequence_fusion(mri, mask)
        attention = {"mri_mask": mask}
        logit = self.head(self._fused(batch, mri, mask, attention))
        if self.clinical is not None and batch.clinical is not None:
            logit = logit + self.clinical(batch.clinical)
        return Prediction(
            logit=logit,
            losses=_over_cases(outcomes, ("reconstruction", "kl", "contrast")),
            logged=_over_cases(outcomes, ("own", "cross")),
            attn=attention,
            latents=self._latents(batch, outcomes),
            feature_maps={
                f"{sequence}_{time}": outcome.maps[number]
                for sequence, outcome in zip(SEQUENCES, outcomes, strict=True)
                for number, time in enumerate(TIMES)
            },
        )

    def _fused(
        self,
        batch: CaseBatch,
        mri: Float[Tensor, "B M C"],
        mask: Bool[Tensor, "B M"],
        attention: dict[str, Tensor],
    ) -> Float[Tensor, "B k C"]:
        """Return the tokens that the head sees; note who attended to what."""
        slide, attention["pooling"] = self.pooling(
            batch.wsi, batch.wsi_mask, self._slides_shown(batch)
        )
        if self.modality_fusion is None:
            return torch.cat([mri * mask[..., None], slide], dim=1)
        keys = mask
        if self.absent is not None:
            # Eq. (7) passes on MRI tokens alone: without any, what stands in for them
            # answers the slide, which then speaks through whom it asks.
            keys = mask | ~mask.any(dim=1, keepdim=True)
        fused, attention["cross"] = self.modality_fusion(slide, mri, keys)
        return fused

    def _slides_shown(self, batch: CaseBatch) -> Bool[Tensor, "B"]:
        """Return whose slide is looked at; in training some MRI is left alone.

        It is drawn by row of the batch, not by case.
        """
        share = self.config.slide_dropout
        if not (self.training and share):
            return batch.wsi_avail
        alone = torch.rand(len(batch.wsi), device=batch.wsi.device) < share
        return batch.wsi_avail & ~(alone & batch.mri_avail.flatten(1).any(dim=1))

    def token_layout(self) -> Int[Tensor, "M 5"]:
        """Return sequence, time, z, y, x of every MRI token, in the fusion's order.

        Sequence 0 is T1, time 0 is pre; z, y, x count cells of the feature map. Where
        the times are added up (``temporal = "sum"``) the time is -1.
        """
        times = [-1] if self.config.temporal == "sum" else [0, 1]
        axes = [torch.arange(len(SEQUENCES)), torch.tensor(times)]
        return torch.cartesian_prod(
            *axes, *[torch.arange(size) for size in self.token_grid]
        )

    def vae_of(self, sequence: int) -> LdVae:
        """Return the LD-VAE of T1 (0) or T2 (1), which may be one and the same."""
        return cast(LdVae, self.vaes[sequence % len(self.vaes)])

    def encoder_of(self, sequence: int, time: int) -> nn.Module:
        """Return the encoder of T1 (0) or T2 (1) before (0) or after (1) therapy."""
        times = 1 if self.config.share_times else len(TIMES)
        number = sequence * times + time % times
        return self.encoders[number % len(self.encoders)]

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
        vae = self.vae_of(number)
        decoupled = vae(maps)
        merged = self._merged(decoupled.own, available, maps)
        if not self.training:
            return merged
        by_token = compared_by_token(batch.aligned, self.config)
        terms = decoupling_terms(
            decoupled,
            vae.crossed(decoupled.latents, by_token, self.token_grid),
            available=available,
            aligned=batch.aligned,
            label=batch.label,
            config=self.config,
        )
        return replace(merged, terms=terms, latents=tuple(decoupled.latents))

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
        if self.config.share_times:
            rows = self._encode(self.encoder_of(number, 0), volumes, available)
            return rows[:, 0], rows[:, 1]
        pre, post = (
            self._encode(
                self.encoder_of(number, time),
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
        rows = present_rows(available)
        shape = (available.numel(), self.config.width, *self.token_grid)
        maps = volumes.new_zeros(shape)
        if len(rows):
            maps[rows] = encoder(volumes.flatten(0, 1)[rows]).to(maps.dtype)
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

    def _latents(
        self, batch: CaseBatch, outcomes: Sequence[SequenceOutcome]
    ) -> dict[str, Tensor]:
        """Return what the health of the LD-VAE is read from.

        ``mean`` [B, S, T, n, Z] and ``features`` [B, S, T, N, C] of ``available``
        [B, S, T] volumes; ``variant_cosine`` [B, S] holds where its mask does.
        """
        if not outcomes[0].terms:
            return {}
        streams = [latent for outcome in outcomes for latent in outcome.latents]
        order = (len(SEQUENCES), len(TIMES))
        means = torch.stack([latent.mean for latent in streams], dim=1).detach()
        features = torch.stack([latent.features for latent in streams], dim=1).detach()
        cosines = [outcome.terms["cosine"] for outcome in outcomes]
        return {
            "mean": means.reshape(-1, *order, *means.shape[2:]),
            "features": features.reshape(-1, *order, *features.shape[2:]),
            "available": batch.mri_avail,
            "variant_cosine": torch.stack([term.value for term in cosines], dim=1),
            "variant_cosine_mask": torch.stack(
                [term.applies for term in cosines], dim=1
            ),
        }


def token_grid(config: Harm3Config, volume_size: Sequence[int]) -> Grid:
    """Return the cells of a feature map along z, y, x."""
    d, h, w = (
        math.ceil(size / stride)
        for size, stride in zip(volume_size, config.output_stride, strict=True)
    )
    return d, h, w


def present_rows(available: Bool[Tensor, "B t"]) -> Int[Tensor, "P"]:
    """Return which rows of the flattened volumes are present."""
    return available.flatten().nonzero().squeeze(1)


def _over_cases(
    outcomes: Sequence[SequenceOutcome], names: Sequence[str]
) -> dict[str, Tensor]:
    """Return the named terms as means; none outside training."""
    if not outcomes[0].terms:
        return {}
    return {
        name: mean_over_cases([outcome.terms[name] for outcome in outcomes])
        for name in names
    }


def _streams(config: Harm3Config) -> int:
    """Return how many token sequences Attention-1 sees."""
    return len(SEQUENCES) * (1 if config.temporal == "sum" else len(TIMES))


def _sequence_fusion(config: Harm3Config, grid: Grid) -> SequenceFusion | None:
    """Return Attention-1, unless it is left out."""
    if not config.attention_1:
        return None
    streams = _streams(config)
    position = None
    if config.relative_position:
        position = RelativePosition(
            grid=grid, streams=streams, heads=config.sequence_heads
        )
    return SequenceFusion(
        width=config.width,
        heads=config.sequence_heads,
        layers=config.sequence_layers,
        position=position,
        streams=streams if config.stream_embedding else 0,
    )


def _pooling(config: Harm3Config, patch_width: int) -> BagPooling | LearnedQueries:
    """Return what pools the bag, or asks in place of the slide."""
    # Drawn in any case, so that a seed gives the weights that it always gave.
    queries = LearnedQueries(tokens=config.wsi_tokens, width=config.width)
    if not config.slide:
        return queries
    return BagPooling(
        patch_width=patch_width,
        width=config.width,
        tokens=config.wsi_tokens,
        heads=config.pooling_heads,
    )


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
