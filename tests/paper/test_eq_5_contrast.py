"""Eq. (5), contrast of pre and post, against a plain NumPy reading."""

import math

import numpy as np
import pytest
import torch

from model_cases import tiny_config
from napari_harm3.models.harm3.ld_vae import Latent
from napari_harm3.models.harm3.losses import contrastive_error, variant_cosine

CASES, TOKENS = 4, 6
LABELS = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
ALL, NONE = torch.ones(CASES, dtype=torch.bool), torch.zeros(CASES, dtype=torch.bool)


def draw():
    return torch.randn(CASES, TOKENS, 3, dtype=torch.float64)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    nothing = torch.zeros(CASES, TOKENS, 1)
    return [
        Latent(
            features=nothing,
            mean=nothing,
            log_variance=nothing,
            inherent=draw(),
            variant=draw(),
        )
        for _ in range(2)
    ]


def cosine(one, other):
    return (
        (one * other).sum(-1)
        / np.linalg.norm(one, axis=-1)
        / np.linalg.norm(other, axis=-1)
    )


def parts(pair):
    return [(one.inherent.numpy(), one.variant.numpy()) for one in pair]


FORMS = {
    "hinge": lambda c, _: np.maximum(c, 0),
    "raw": lambda c, _: c,
    "squared": lambda c, _: c**2,
    "label": lambda c, pcr: np.where(pcr[:, None] == 1, np.maximum(c, 0), 1 - c),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_matches_the_equation_token_by_token(pair, form: str, balance: float) -> None:
    config = tiny_config(cosine=form, contrast_balance=balance)

    loss = contrastive_error(pair[0], pair[1], ALL, LABELS, config)

    (inherent_pre, variant_pre), (inherent_post, variant_post) = parts(pair)
    apart = FORMS[form](cosine(variant_pre, variant_post), LABELS.numpy()).mean(axis=1)
    alike = ((inherent_pre - inherent_post) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(loss.numpy(), balance * apart + (1 - balance) * alike)


@pytest.mark.parametrize("form", FORMS)
def test_unaligned_cases_are_compared_as_wholes(pair, form: str) -> None:
    config = tiny_config(cosine=form, contrast_balance=0.5)

    loss = contrastive_error(pair[0], pair[1], NONE, LABELS, config)

    (inherent_pre, variant_pre), (inherent_post, variant_post) = parts(pair)
    whole = cosine(variant_pre.mean(1), variant_post.mean(1))[:, None]
    apart = FORMS[form](whole, LABELS.numpy()).mean(axis=1)
    alike = ((inherent_pre.mean(1) - inherent_post.mean(1)) ** 2).mean(axis=1)
    np.testing.assert_allclose(loss.numpy(), (apart + alike) / 2)


@pytest.mark.parametrize(("level", "stands_for"), [("token", ALL), ("global", NONE)])
def test_a_stated_level_overrules_the_alignment(pair, level, stands_for) -> None:
    by_level = contrastive_error(
        *pair, ~stands_for, LABELS, tiny_config(contrast_level=level)
    )

    by_alignment = contrastive_error(*pair, stands_for, LABELS, tiny_config())

    torch.testing.assert_close(by_level, by_alignment)


def test_auto_goes_by_each_case(pair) -> None:
    mixed = torch.tensor([True, False, True, False])

    cosines = variant_cosine(*pair, mixed, tiny_config())

    by_token = variant_cosine(*pair, ALL, tiny_config())
    pooled = variant_cosine(*pair, NONE, tiny_config())
    torch.testing.assert_close(cosines[mixed], by_token[mixed])
    torch.testing.assert_close(cosines[~mixed], pooled[~mixed])


def test_an_unknown_label_leaves_only_the_inherent_parts(pair) -> None:
    unknown = torch.full_like(LABELS, math.nan)

    loss = contrastive_error(*pair, ALL, unknown, tiny_config(cosine="label"))

    alike = (pair[0].inherent - pair[1].inherent).square().mean(dim=(1, 2))
    torch.testing.assert_close(loss, alike / 2)
