"""HMCAT (re-implementation): MRI tokens question a slide on three levels.

Reference: Li et al., Survival Prediction via Hierarchical Multimodal Co-Attention
Transformer: A Computational Histology-Radiology Solution, IEEE Transactions on Medical
Imaging 42(9):2678-2689, 2023.

Row of Table 1: HMCAT (MRI: T1 and T2, pre and post; slide).

No code and no full text was available: only the abstract was read. It says that a
slide is described by cellular features, cellular organization and tissue phenotypes,
and that radiology guides a co-attention on each level. All else is inferred from MCAT
(Chen et al., Multimodal Co-Attention Transformer for Survival Prediction in Gigapixel
Whole Slide Images, ICCV 2021), which it resembles: the projection of patches, a
co-attention of one head, two transformers, gated pooling, the MLP, and every width.

*Differs from the paper*:

* The levels are patches, means of 4 x 4 neighbours, and 16 learned prototypes that
  share the patches out: the hierarchical extractors are not known to us, and features
  come at one magnification. A patch without coordinates is a neighbourhood of its own.
  Slides of one case share an origin: neighbourhoods that coincide are merged.
* One projection and one co-attention serve all levels, which a learned vector tells
  apart; another tells the volumes apart.
* The questions are the cells of four volumes, of two sequences and two times, where the
  paper has one image. T1 and T2 have an encoder each, which pre and post share.
* One logit of pCR with binary cross-entropy in place of a survival risk.
* The transformers normalise first, and once more at their end, which lets them learn
  without a warm-up.
* The encoder is HARM3's and patches are standardised first, as for every network here.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from napari_harm3.cohort.case import ROLES, SEQUENCES, TIMES
from napari_harm3.models.baselines.fusion_config import HmcatConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.attention import Tap, likeness, masked_softmax
from napari_harm3.models.layers.gated_attention import GatedAttention
from napari_harm3.models.layers.patch_scale import PatchScale
from napari_harm3.models.layers.resnet3d import ResNet3d

LEVELS = ("patches", "neighbourhoods", "phenotypes")
MOST_CELLS = 2**24
"""More than a slide has neighbourhoods along a side."""

NOWHERE = torch.iinfo(torch.int64).min
"""Below the number of any neighbourhood."""

LEAST_SHARE = 1e-6
"""Of a bag, below which a phenotype is not seen in it."""


class Hmcat(nn.Module):
    """Four volumes and a bag of patches in, the log-odds of pCR out.

    Parameters
    ----------
    config
        Every choice.
    volume_size
        Voxels of the common grid; the network takes any.
    patch_width
        Features of a patch.
    """

    def __init__(
        self,
        config: HmcatConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - every network is built alike
        patch_width: int,
    ) -> None:
        super().__init__()
        width = config.width
        self.neighbourhood_um = config.neighbourhood * config.patch_um
        encoders = [_encoder(config) for _ in SEQUENCES]
        self.encoders = nn.ModuleList(encoders)
        self.to_mri = nn.Linear(encoders[0].out_channels, width)
        self.volume = nn.Parameter(torch.randn(len(ROLES), width) / math.sqrt(width))
        self.project = nn.Sequential(
            PatchScale(patch_width),
            nn.Linear(patch_width, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.prototypes = nn.Parameter(torch.randn(config.prototypes, width))
        self.level = nn.Parameter(torch.randn(len(LEVELS), width) / math.sqrt(width))
        self.co_attention = CoAttention(width)
        self.mri_summary, self.slide_summary = Summary(config), Summary(config)
        self.head = nn.Sequential(
            nn.Linear(2 * width, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction and what explains it.

        A patch's weight is the mean over the MRI tokens on the level of patches.
        """
        maps = self._maps(batch.mri)
        mri = self._mri_tokens(list(maps.values()))
        answers, weights = zip(
            *(self.co_attention(mri, *level) for level in self._levels(batch)),
            strict=True,
        )
        slide = torch.cat(
            [answer + level for answer, level in zip(answers, self.level, strict=True)],
            dim=1,
        )
        summary = torch.cat([self.mri_summary(mri), self.slide_summary(slide)], dim=1)
        return Prediction(
            logit=self.head(summary).squeeze(1),
            attn={"pooling": weights[0].mean(dim=1, keepdim=True)},
            feature_maps=maps,
        )

    def _maps(self, mri: Float[Tensor, "B S T 1 D H W"]) -> dict[str, Tensor]:
        """Return the map of every volume; times are stacked along the batch."""
        maps: list[Tensor] = []
        for encoder, volumes in zip(self.encoders, mri.unbind(dim=1), strict=True):
            rows = encoder(volumes.flatten(0, 1))
            maps += [rows[number :: len(TIMES)] for number in range(len(TIMES))]
        return dict(zip(ROLES, maps, strict=True))

    def _mri_tokens(
        self, maps: Sequence[Float[Tensor, "B c d h w"]]
    ) -> Float[Tensor, "B M C"]:
        """Return every cell of every volume as a token that knows its volume."""
        tokens = [
            self.to_mri(one.flatten(2).transpose(1, 2)) + volume
            for one, volume in zip(maps, self.volume, strict=True)
        ]
        return torch.cat(tokens, dim=1)

    def _levels(self, batch: CaseBatch) -> list[tuple[Tensor, Tensor]]:
        """Return the tokens of each level, and which of them are real."""
        patches, mask = self.project(batch.wsi), batch.wsi_mask
        group = neighbourhoods(batch.wsi_coords, mask, side_um=self.neighbourhood_um)
        return [
            (patches, mask),
            group_means(patches, mask, group),
            phenotype_means(patches, mask, self.prototypes),
        ]


class CoAttention(nn.Module):
    """MRI tokens ask, slide tokens of one level answer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_query = nn.Linear(width, width)
        self.to_key = nn.Linear(width, width)
        self.to_value = nn.Linear(width, width)
        self.tap = Tap("pooling")
        self.out = nn.Linear(width, width)

    def forward(
        self,
        mri: Float[Tensor, "B M C"],
        slide: Float[Tensor, "B N C"],
        mask: Bool[Tensor, "B N"],
    ) -> tuple[Float[Tensor, "B M C"], Float[Tensor, "B M N"]]:
        """Return an answer to every MRI token, and the attention that made it."""
        scores = likeness(self.to_query(mri), self.to_key(slide))
        attention = self.tap(masked_softmax(scores, mask[:, None]))
        return self.out(attention @ self.to_value(slide)), attention


class Summary(nn.Module):
    """One vector of all tokens of a modality: a transformer, then gated pooling."""

    def __init__(self, config: HmcatConfig) -> None:
        super().__init__()
        width = config.width
        self.transformer = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width,
                    config.heads,
                    config.feed_forward,
                    config.dropout,
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(config.layers)
            ),
            nn.LayerNorm(width),
        )
        self.attention = GatedAttention(width=width, hidden=width)
        self.out = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(config.dropout)
        )

    def forward(self, tokens: Float[Tensor, "B M C"]) -> Float[Tensor, "B C"]:
        """Return it."""
        tokens = self.transformer(tokens)
        weights = self.attention(tokens).softmax(dim=-1)
        return self.out((weights @ tokens).squeeze(1))


def neighbourhoods(
    centres_um: Float[Tensor, "B N 2"], mask: Bool[Tensor, "B N"], *, side_um: float
) -> Int[Tensor, "B N"]:
    """Return a number below N for every patch, the same within a square of a slide.

    A patch that is padding, or whose place is not known, has a number to itself.
    """
    column, row = (centres_um.nan_to_num() / side_um).floor().long().unbind(dim=2)
    placed = mask & centres_um.isfinite().all(dim=2)
    alone = torch.arange(mask.shape[1], device=mask.device) + NOWHERE
    key = torch.where(placed, column * MOST_CELLS + row, alone)
    return torch.searchsorted(key.sort(dim=1).values, key)


def group_means(
    patches: Float[Tensor, "B N C"],
    mask: Bool[Tensor, "B N"],
    group: Int[Tensor, "B N"],
) -> tuple[Float[Tensor, "B N C"], Bool[Tensor, "B N"]]:
    """Return the mean of every group, in the row of its number, and which there are."""
    patches = patches.float()  # half precision cannot count to a bag's length
    real = mask[..., None].float()
    index = group[..., None].expand_as(patches)
    sums = torch.zeros_like(patches).scatter_add(1, index, patches * real)
    counts = torch.zeros_like(real).scatter_add(1, group[..., None], real)
    return sums / counts.clamp(min=1), counts.squeeze(2) > 0


def phenotype_means(
    patches: Float[Tensor, "B N C"],
    mask: Bool[Tensor, "B N"],
    prototypes: Float[Tensor, "k C"],
) -> tuple[Float[Tensor, "B k C"], Bool[Tensor, "B k"]]:
    """Return the mean of the patches that each prototype is given, by their shares."""
    width = patches.shape[-1]
    scores = layer_norm(patches, (width,)) @ prototypes.T / math.sqrt(width)
    shares = scores.softmax(dim=-1) * mask[..., None]
    shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=LEAST_SHARE)
    there = mask.any(dim=1, keepdim=True).expand(-1, len(prototypes))
    return shares.transpose(1, 2) @ patches, there


def _encoder(config: HmcatConfig) -> ResNet3d:
    return ResNet3d(
        depth=config.encoder_depth,
        base_channels=config.base_channels,
        output_stride=config.output_stride,
    )
