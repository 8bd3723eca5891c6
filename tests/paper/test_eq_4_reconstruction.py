"""Eq. (4), reconstruction and divergence, against a plain NumPy reading."""

import numpy as np
import pytest
import torch

from model_cases import tiny_config
from napari_harm3.models.harm3.ld_vae import Decoupled, Latent
from napari_harm3.models.harm3.losses import (
    decoupling_terms,
    kl_divergence,
    mean_over_cases,
    reconstruction_error,
)

CASES, TOKENS, WIDTH = 3, 5, 4


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def latent():
    return Latent(
        features=draw(CASES, TOKENS, WIDTH).requires_grad_(),
        mean=draw(CASES, TOKENS, WIDTH),
        log_variance=draw(CASES, TOKENS, WIDTH),
        inherent=draw(CASES, TOKENS, 2),
        variant=draw(CASES, TOKENS, 2),
    )


@pytest.fixture
def decoupled():
    torch.manual_seed(0)
    return Decoupled(
        own=[draw(CASES, TOKENS, WIDTH) for _ in range(2)],
        latents=[latent(), latent()],
    )


CROSSED = [
    torch.full((CASES, TOKENS, WIDTH), value, dtype=torch.float64)
    for value in (0.3, -0.7)
]


def terms_of(decoupled, available, **fields):
    return decoupling_terms(
        decoupled,
        CROSSED,
        available=torch.tensor(available),
        aligned=torch.ones(CASES, dtype=torch.bool),
        label=torch.zeros(CASES, dtype=torch.float64),
        config=tiny_config(**fields),
    )


def squared(rebuilt, target):
    return ((rebuilt.detach().numpy() - target.detach().numpy()) ** 2).mean(axis=(1, 2))


def divergence(latent):
    """Of a normal distribution from the standard one, by its textbook form."""
    mean, variance = latent.mean.numpy(), np.exp(latent.log_variance.numpy())
    each = -0.5 * (1 + np.log(variance) - mean**2 - variance)
    return each.mean(axis=(1, 2))


def test_all_four_pairs_of_times_weigh_the_same(decoupled) -> None:
    terms = terms_of(decoupled, [[True, True]] * CASES)

    targets = [latent.features for latent in decoupled.latents]
    pairs = [
        squared(rebuilt[i], targets[i])
        for rebuilt in (decoupled.own, CROSSED)
        for i in range(2)
    ]
    np.testing.assert_allclose(
        terms["reconstruction"].value.detach().numpy(), np.mean(pairs, axis=0)
    )


def test_the_divergence_is_that_of_two_normal_distributions(decoupled) -> None:
    terms = terms_of(decoupled, [[True, True]] * CASES)

    expected = np.mean([divergence(one) for one in decoupled.latents], axis=0)
    np.testing.assert_allclose(terms["kl"].value.numpy(), expected)


def test_the_literal_sum_counts_the_divergence_twice(decoupled) -> None:
    once = terms_of(decoupled, [[True, True]] * CASES)["kl"].value
    twice = terms_of(decoupled, [[True, True]] * CASES, kl_count="literal")["kl"].value

    torch.testing.assert_close(twice, 2 * once)


def test_free_bits_hold_each_latent_at_its_floor(decoupled) -> None:
    floor = kl_divergence(decoupled.latents[0], tiny_config(free_bits=1e3))

    torch.testing.assert_close(floor, torch.full_like(floor, 1e3))


def test_a_case_with_one_time_has_its_own_terms_only(decoupled) -> None:
    available = [[True, True], [True, False], [False, False]]

    terms = terms_of(decoupled, available)

    own = squared(decoupled.own[0], decoupled.latents[0].features)
    assert terms["reconstruction"].applies.tolist() == [True, True, False]
    assert terms["cross"].applies.tolist() == [True, False, False]
    np.testing.assert_allclose(terms["reconstruction"].value[1].item(), own[1])
    np.testing.assert_allclose(
        terms["kl"].value[1].item(), divergence(decoupled.latents[0])[1]
    )


def test_the_mean_runs_over_the_cases_that_have_the_term(decoupled) -> None:
    term = terms_of(decoupled, [[True, True], [True, False], [False, False]])["cross"]

    mean = mean_over_cases([term, term])

    np.testing.assert_allclose(mean.item(), term.value[0].item())


def test_a_term_that_no_case_has_is_zero(decoupled) -> None:
    terms = terms_of(decoupled, [[False, False]] * CASES)

    assert [mean_over_cases([term]).item() for term in terms.values()] == [0.0] * 6


@pytest.mark.parametrize(
    ("target", "moves"), [("detached", False), ("trainable", True)]
)
def test_the_target_moves_only_where_it_is_trainable(target: str, moves: bool) -> None:
    features = draw(CASES, TOKENS, WIDTH).requires_grad_()
    rebuilt = draw(CASES, TOKENS, WIDTH).requires_grad_()

    error = reconstruction_error(
        rebuilt, features, tiny_config(reconstruction_target=target)
    )
    error.sum().backward()

    assert rebuilt.grad is not None
    assert (features.grad is not None) == moves
