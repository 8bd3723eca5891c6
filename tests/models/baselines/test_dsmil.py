"""DSMIL against a plain NumPy reading of its two streams."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.baselines.bag_config import DsmilConfig
from napari_harm3.models.baselines.dsmil import Dsmil


def small() -> Dsmil:
    torch.manual_seed(0)
    config = DsmilConfig(width=5, query_width=3)
    return Dsmil(config, volume_size=(4, 4, 4), patch_width=6)


def test_matches_the_equations() -> None:
    network, batch = small(), case_batch(2)

    prediction = network(batch)

    w = {name: weight.numpy() for name, weight in network.state_dict().items()}

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    errors = []
    for row, (bag, label) in enumerate(zip(batch.wsi.numpy(), (0, 1), strict=True)):
        hidden = np.maximum(layer("project.0", bag), 0)
        scores = layer("classify_instance", hidden)[:, 0]
        critical, query = scores.argmax(), layer("to_query", hidden)
        exponents = np.exp(query @ query[critical] / np.sqrt(3))
        weights = exponents / exponents.sum()
        second = layer("classify_bag", weights @ layer("to_value", hidden))[0]
        expected = (scores.max() + second) / 2
        assert prediction.logit[row].item() == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(
            prediction.attn["pooling"][row, 0].detach().numpy(), weights, rtol=1e-5
        )
        errors.append(np.log1p(np.exp(-scores.max() if label else scores.max())))
    found = prediction.losses["max_instance"].item()
    assert found == pytest.approx(np.mean(errors), rel=1e-5)


def test_both_streams_weigh_the_same() -> None:
    assert small().loss_weights == {"bce": 0.5, "max_instance": 0.5}


def test_a_case_without_a_label_has_no_loss() -> None:
    network, batch = small(), case_batch(2)
    half = replace(batch, label=torch.tensor([0.0, math.nan]))
    none = replace(batch, label=torch.full((2,), math.nan))

    assert network(half).losses["max_instance"] > 0
    assert network(none).losses["max_instance"] == 0
    assert not network.eval()(batch).losses
