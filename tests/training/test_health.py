"""The LD-VAE's health, against NumPy."""

import numpy as np
import pytest
import torch

from napari_harm3.training.health import Health, unhealthy

SHAPE = (3, 2, 2, 5, 4)


def latents(mean: torch.Tensor, features: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "mean": mean,
        "features": features,
        "available": torch.ones(len(mean), 2, 2, dtype=torch.bool),
        "variant_cosine": torch.full((len(mean), 2), 0.25),
        "variant_cosine_mask": torch.ones(len(mean), 2, dtype=torch.bool),
    }


def test_figures_are_those_of_all_steps_together():
    rng = torch.Generator().manual_seed(0)
    mean, features = (torch.randn(SHAPE, generator=rng) for _ in range(2))
    mean[..., 0] = 0.3  # one latent of four carries nothing
    health = Health()

    health.add(latents(mean[:2], features[:2]))
    health.add(latents(mean[2:], features[2:]))
    found = health.figures({"own": 0.5, "cross": 0.6})

    rows = features.numpy().reshape(-1, 4)
    assert found["active_units"] == 0.75
    assert found["feature_variance"] == pytest.approx(np.var(rows, axis=0).mean())
    assert found["cross_over_own"] == pytest.approx(1.2)
    assert found["variant_cosine"] == 0.25
    assert [text.split()[0] for text in unhealthy(found)] == [
        "active_units",
        "cross_over_own",
    ]


def test_absent_volumes_have_no_say():
    features = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    changed = features.clone()
    changed[0, 0, 1] = 1e6
    figures = []
    for one in (features, changed):
        said = latents(features, one)
        said["available"][0, 0, 1] = False
        health = Health()
        health.add(said)
        figures.append(health.figures({}))

    assert figures[0] == figures[1]


def test_latents_that_are_alike_in_every_case_carry_nothing():
    rng = torch.Generator().manual_seed(0)
    alike = torch.randn(1, *SHAPE[1:], generator=rng).expand(SHAPE)
    health = Health()

    health.add(latents(alike, alike))
    found = health.figures({"own": 1.0, "cross": 1.0})

    assert found["active_units"] == 0
    assert [text.split()[0] for text in unhealthy(found)] == ["active_units"]


def test_one_dead_branch_is_not_hidden_by_the_others():
    mean = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    mean[:, 1, 0] = mean[:1, 1, 0].clone()
    health = Health()

    health.add(latents(mean, mean))

    assert health.figures({})["active_units"] == 0


def test_a_sequence_that_nobody_has_is_no_dead_branch():
    mean = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    said = latents(mean, mean)
    said["available"][:, 1] = False
    health = Health()

    health.add(said)

    assert health.figures({})["active_units"] == 1


def test_a_network_without_latents_has_no_figures():
    health = Health()

    health.add({})

    assert health.figures({}) == {}
    assert unhealthy({}) == []
