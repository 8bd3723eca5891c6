"""What is easy: rows that a network must beat before it is worth a look.

Each is fitted at once, by `fit`, on the cases that are fitted: the training part
without its inner part. Nothing is drawn.

Reference: none; *tumour volume ratio* is how RECIST-like criteria read a response.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_harm3.models.baselines.reference_config import (
    ClinicalConfig,
    MajorityConfig,
    VolumeRatioConfig,
)
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.patch_scale import ClinicalScale

LEAST_VOXELS = 0.5
"""Added to both volumes, so that a lesion that has gone has a ratio still."""

ROUNDS = 200


class Majority(nn.Module):
    """The same log-odds for everybody: those of the training part."""

    def __init__(self, config: MajorityConfig, **shape: object) -> None:  # noqa: ARG002
        super().__init__()
        self.log_odds: Tensor
        self.register_buffer("log_odds", torch.zeros(()))

    def fit(self, batch: CaseBatch) -> None:
        """Take the log-odds of the cases."""
        share = batch.label.mean().clamp(1e-3, 1 - 1e-3)
        self.log_odds.copy_(torch.logit(share))

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return it."""
        return Prediction(logit=self.log_odds.expand(len(batch.label)))


class Logistic(nn.Module):
    """Logistic regression with a small L2 penalty on its slopes."""

    def __init__(self, columns: int, penalty: float) -> None:
        super().__init__()
        self.penalty = penalty
        self.slopes = nn.Parameter(torch.zeros(columns))
        self.intercept = nn.Parameter(torch.zeros(()))

    def forward(self, values: Float[Tensor, "B c"]) -> Float[Tensor, "B"]:
        """Return log-odds."""
        return values @ self.slopes + self.intercept

    def fit(self, values: Float[Tensor, "B c"], label: Float[Tensor, "B"]) -> None:
        """Minimise the penalised loss; it is convex, so there is one answer."""
        with torch.no_grad():
            self.slopes.zero_()
            self.intercept.zero_()
        optimizer = torch.optim.LBFGS(
            self.parameters(), max_iter=ROUNDS, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = binary_cross_entropy_with_logits(self(values), label)
            value = value + self.penalty * self.slopes.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        with torch.enable_grad():
            optimizer.step(loss)  # type: ignore[no-untyped-call]


class VolumeRatio(nn.Module):
    """How much of the annotated lesion is left, on the logarithm's scale.

    The volumes of both sequences are added up where both times are annotated. A case
    without such a pair is given the training's mean.
    """

    def __init__(self, config: VolumeRatioConfig, **shape: object) -> None:  # noqa: ARG002
        super().__init__()
        self.regression = Logistic(1, config.penalty)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()))

    def fit(self, batch: CaseBatch) -> None:
        """Fit on the cases."""
        ratio = log_ratio(batch)
        self.mean.copy_(ratio.nanmean().nan_to_num())
        self.regression.fit(self._known(ratio), batch.label)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return log-odds."""
        return Prediction(logit=self.regression(self._known(log_ratio(batch))))

    def _known(self, ratio: Float[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        return torch.where(ratio.isnan(), self.mean, ratio)[:, None]


class ClinicalLogistic(nn.Module):
    """Logistic regression on columns of the cohort table."""

    def __init__(
        self,
        config: ClinicalConfig,
        *,
        clinical_width: int,
        **shape: object,  # noqa: ARG002
    ) -> None:
        super().__init__()
        self.scale = ClinicalScale(clinical_width)
        self.regression = Logistic(clinical_width, config.penalty)

    def fit(self, batch: CaseBatch) -> None:
        """Fit on the cases."""
        self.regression.fit(self._columns(batch), batch.label)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return log-odds."""
        return Prediction(logit=self.regression(self._columns(batch)))

    def _columns(self, batch: CaseBatch) -> Float[Tensor, "B c"]:
        assert batch.clinical is not None  # the registry says that it looks at them
        return self.scale(batch.clinical)


def log_ratio(batch: CaseBatch) -> Float[Tensor, "B"]:
    """Return the logarithm of lesion volume after over before; NaN if not known."""
    count = len(batch.label)
    if batch.tumour_mask is None or batch.tumour_mask_avail is None:
        return batch.label.new_full((count,), torch.nan)
    voxels = batch.tumour_mask.flatten(3).sum(dim=3)  # B, S, T
    pairs = batch.tumour_mask_avail.all(dim=2, keepdim=True)
    before, after = (voxels * pairs).sum(dim=1).unbind(dim=1)
    ratio = ((after + LEAST_VOXELS) / (before + LEAST_VOXELS)).log()
    known = pairs.flatten(1).any(dim=1) & (before > 0)
    return torch.where(known, ratio, torch.nan)
