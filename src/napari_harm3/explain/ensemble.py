"""The folds that may be asked of a case, as one network."""

from collections.abc import Sequence

from torch import nn

from napari_harm3.explain.config import Target
from napari_harm3.inference.predictor import Predictor, Sight, mean_logit
from napari_harm3.models.interface import CaseBatch, Prediction


class Ensemble(nn.Module):
    """Networks whose mean logit is the answer, as the predictor gives it.

    Parameters
    ----------
    networks
        Of the folds.
    target
        With ``non-pcr`` the logit is that of no pCR.
    """

    def __init__(
        self, networks: Sequence[nn.Module], *, target: Target = "pcr"
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._sign = -1 if target == "non-pcr" else 1

    @classmethod
    def of(
        cls, predictor: Predictor, sight: Sight, target: Target = "pcr"
    ) -> "Ensemble":
        """Return the folds that a predictor may ask of a case."""
        return cls([predictor.network(fold) for fold in sight.folds], target=target)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the mean logit, and nothing else."""
        logits = [network(batch).logit for network in self.networks]
        return Prediction(logit=self._sign * mean_logit(logits))
