"""Eq. (6) and (7), and the pooling before them, against plain NumPy readings."""

import numpy as np
import pytest
import torch

from napari_harm3.models.harm3.modality_fusion import BagPooling, CrossAttention

ALL = torch.ones(1, 5, dtype=torch.bool)


def softmax(scores):
    exponent = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def numbers(tensor):
    return tensor.detach().numpy()


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return torch.randn(1, 3, 4).double(), torch.randn(1, 5, 4).double()


def test_matches_the_equations(inputs) -> None:
    wsi, mri = inputs
    fusion = CrossAttention(width=4).double()

    fused, attention = fusion(wsi, mri, ALL)

    w_q, w_k, w_v = (numbers(p).T for p in fusion.parameters())
    q, k, v = wsi[0].numpy() @ w_q, mri[0].numpy() @ w_k, mri[0].numpy() @ w_v
    expected = softmax(q @ k.T / np.sqrt(4))
    np.testing.assert_allclose(numbers(attention[0]), expected)
    np.testing.assert_allclose(numbers(fused[0]), expected @ v)


def test_absent_tokens_are_no_keys(inputs) -> None:
    wsi, mri = inputs
    fusion = CrossAttention(width=4).double()
    mask = torch.tensor([[True, False, True, False, False]])

    fused, attention = fusion(wsi, mri, mask)

    without, shares = fusion(wsi, mri[:, mask[0]], ALL[:, :2])
    torch.testing.assert_close(fused, without)
    torch.testing.assert_close(attention[:, :, mask[0]], shares)
    assert not attention[:, :, ~mask[0]].any()


def test_without_any_key_nothing_is_fused(inputs) -> None:
    fused, attention = CrossAttention(width=4).double()(*inputs, ~ALL)

    assert not fused.any()
    assert not attention.any()


def test_heads_attend_each_in_their_own_part_of_the_width(inputs) -> None:
    wsi, mri = inputs
    fusion = CrossAttention(width=4, heads=2).double()

    fused, attention = fusion(wsi, mri, ALL)

    w_q, w_k, w_v = (numbers(p).T for p in fusion.parameters())
    q, k, v = wsi[0].numpy() @ w_q, mri[0].numpy() @ w_k, mri[0].numpy() @ w_v
    halves = [slice(0, 2), slice(2, 4)]
    each = [softmax(q[:, h] @ k[:, h].T / np.sqrt(2)) for h in halves]
    joined = np.concatenate(
        [a @ v[:, h] for a, h in zip(each, halves, strict=True)], axis=1
    )
    np.testing.assert_allclose(numbers(fused[0]), joined)
    np.testing.assert_allclose(numbers(attention[0]), np.mean(each, axis=0))


def test_the_residual_adds_the_question_to_the_answer(inputs) -> None:
    plain, residual = CrossAttention(width=4), CrossAttention(width=4, residual=True)
    residual.load_state_dict(plain.state_dict())

    difference = residual.double()(*inputs, ALL)[0] - plain.double()(*inputs, ALL)[0]

    torch.testing.assert_close(difference, inputs[0])


def test_pooling_lets_learned_queries_attend_to_the_bag(inputs) -> None:
    _, bag = inputs
    pooling = BagPooling(patch_width=4, width=4, tokens=2, heads=2).double()
    mask = torch.tensor([[True, True, True, True, False]])

    tokens, weights = pooling(bag, mask, torch.tensor([True]))

    linear, norm = pooling.project
    rows = numbers(linear(bag[0, :4]))
    rows = (rows - rows.mean(1, keepdims=True)) / np.sqrt(
        rows.var(1, keepdims=True) + norm.eps
    )
    queries = numbers(pooling.queries)
    q = queries @ numbers(pooling.to_query.weight).T
    k = rows @ numbers(pooling.to_key.weight).T
    v = rows @ numbers(pooling.to_value.weight).T
    halves = [slice(0, 2), slice(2, 4)]
    each = [softmax(q[:, h] @ k[:, h].T / np.sqrt(2)) for h in halves]
    mixed = np.concatenate(
        [a @ v[:, h] for a, h in zip(each, halves, strict=True)], axis=1
    )
    out = mixed @ numbers(pooling.out.weight).T + numbers(pooling.out.bias)
    np.testing.assert_allclose(numbers(tokens[0]), queries + out)
    np.testing.assert_allclose(numbers(weights[0, :, :4]), np.mean(each, axis=0))
    assert not weights[0, :, 4].any()


def test_the_queries_stand_in_for_a_missing_slide(inputs) -> None:
    _, bag = inputs
    pooling = BagPooling(patch_width=4, width=4, tokens=2, heads=2).double()

    tokens, weights = pooling(bag, ALL, torch.tensor([False]))

    torch.testing.assert_close(tokens[0], pooling.queries)
    assert not weights.any()
