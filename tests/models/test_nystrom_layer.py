"""Attention through landmarks, against exact attention where both must agree."""

import numpy as np
import pytest
import torch

from napari_harm3.models.layers.nystrom import (
    NystromAttention,
    pseudo_inverse,
    segment_means,
)


def layer(**fields) -> NystromAttention:
    torch.manual_seed(0)
    plan = {"width": 8, "heads": 2, "landmarks": 64, "iterations": 20, **fields}
    return NystromAttention(**plan).double()


def exact_twin(of: NystromAttention) -> NystromAttention:
    twin = layer(landmarks=of.landmarks, exact_below=10**6)
    twin.load_state_dict(of.state_dict())
    return twin


@pytest.mark.parametrize("tokens", [1, 40, 64])
def test_with_a_landmark_a_token_it_is_exact(tokens: int) -> None:
    nystrom = layer()
    bag = torch.randn(2, tokens, 8).double()

    found, exact = nystrom(bag)[0], exact_twin(nystrom)(bag)[0]

    # 64 rows of four numbers are nearly dependent: their inverse is never quite done.
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


def test_with_a_landmark_a_run_of_equal_tokens_it_is_exact() -> None:
    nystrom = layer(landmarks=5)
    bag = torch.randn(2, 5, 8).double().repeat_interleave(4, dim=1)

    torch.testing.assert_close(nystrom(bag), exact_twin(nystrom)(bag))


def test_the_attention_of_the_first_token_is_that_of_a_softmax() -> None:
    nystrom = layer(landmarks=4)
    bag = torch.randn(1, 30, 8).double()

    _, first = nystrom(bag)

    w_q, w_k = nystrom.to_qkv.weight.detach().numpy()[:16].reshape(2, 2, 4, 8)
    tokens = bag[0].numpy()
    exponents = np.exp(
        np.einsum("hcd,d,hce,ne->hn", w_q, tokens[0], w_k, tokens) / np.sqrt(4)
    )
    expected = (exponents / exponents.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(first[0].detach().numpy(), expected)


@pytest.mark.parametrize("exact_below", [0, 100])
def test_the_first_answers_do_not_depend_on_how_many_are_wanted(exact_below) -> None:
    nystrom = layer(landmarks=7, exact_below=exact_below)
    bag = torch.randn(1, 60, 8).double()

    few, _ = nystrom(bag, answers=3)

    torch.testing.assert_close(few, nystrom(bag)[0][:, :3])


@pytest.mark.parametrize(("tokens", "count"), [(12, 4), (13, 4), (15, 4), (3, 4)])
def test_segments_are_numpys(tokens: int, count: int) -> None:
    values = torch.randn(2, 3, tokens, 5)

    means = segment_means(values, count)

    parts = np.array_split(values.numpy(), min(count, tokens), axis=2)
    expected = np.stack([part.mean(axis=2) for part in parts], axis=2)
    np.testing.assert_allclose(means.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_inverse_is_the_inverse() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(2, 3, 6, 6).double().softmax(dim=-1)

    torch.testing.assert_close(pseudo_inverse(matrix, 30), torch.linalg.inv(matrix))
    # One matrix has no say in another, however large.
    alone = pseudo_inverse(matrix[:1], 3)
    torch.testing.assert_close(pseudo_inverse(matrix, 3)[:1], alone)
