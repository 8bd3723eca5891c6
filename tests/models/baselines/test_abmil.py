"""ABMIL against a plain NumPy reading of Eq. (7) to (9) of its paper."""

import numpy as np
import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.baselines.abmil import Abmil
from napari_harm3.models.baselines.bag_config import AbmilConfig


@pytest.mark.parametrize("gated", [True, False])
def test_matches_the_equations(gated: bool) -> None:
    torch.manual_seed(0)
    config = AbmilConfig(width=4, attention_width=3, gated=gated)
    network = Abmil(config, volume_size=(4, 4, 4), patch_width=6)
    batch = case_batch(2)

    prediction = network(batch)

    w = {name: weight.numpy() for name, weight in network.state_dict().items()}
    hidden = np.maximum(
        batch.wsi.numpy() @ w["project.0.weight"].T + w["project.0.bias"], 0
    )
    scores = np.tanh(
        hidden @ w["attention.feature.0.weight"].T + w["attention.feature.0.bias"]
    )
    if gated:
        gate = hidden @ w["attention.gate.0.weight"].T + w["attention.gate.0.bias"]
        scores = scores / (1 + np.exp(-gate))
    exponents = np.exp(scores @ w["attention.score.weight"][0])
    weights = exponents / exponents.sum(axis=1, keepdims=True)
    pooled = (weights[:, :, None] * hidden).sum(axis=1)
    logit = pooled @ w["classify.weight"][0] + w["classify.bias"]
    np.testing.assert_allclose(
        prediction.attn["pooling"][:, 0].detach().numpy(), weights, rtol=1e-5
    )
    np.testing.assert_allclose(prediction.logit.detach().numpy(), logit, rtol=1e-4)


def test_needs_the_slide_alone() -> None:
    assert AbmilConfig().required == ("wsi",)
