"""TransMIL: its size, its square, and that padding has no say in it."""

from dataclasses import replace

import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.baselines.bag_config import TransMilConfig
from napari_harm3.models.baselines.transmil import PositionEncoding, TransMil

WIDTH = 12


def small(**fields) -> TransMil:
    torch.manual_seed(0)
    plan = {"width": 16, "heads": 2, "landmarks": 16, "exact_below": 0, **fields}
    config = TransMilConfig(**plan)
    return TransMil(config, volume_size=(4, 4, 4), patch_width=WIDTH).eval()


def cases(patches: int):
    return case_batch(2, patches=patches, patch_width=WIDTH)


@pytest.mark.parametrize(("patch_width", "millions"), [(1024, 2.67), (384, 2.34)])
def test_the_size_is_the_papers(patch_width: int, millions: float) -> None:
    with torch.device("meta"):
        network = TransMil(
            TransMilConfig(), volume_size=(4, 4, 4), patch_width=patch_width
        )

    count = sum(weight.numel() for weight in network.parameters())

    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_padding_has_no_say_with_landmarks_either() -> None:
    network, batch = small(), cases(150)
    short = torch.arange(150) < torch.tensor([[150], [90]])
    ragged = replace(batch, wsi_mask=short)
    second = replace(cases(90), wsi=batch.wsi[:, :90])

    found, alone = network(ragged), network(second)

    torch.testing.assert_close(found.logit[1], alone.logit[1])
    torch.testing.assert_close(found.logit[0], network(batch).logit[0])
    torch.testing.assert_close(
        found.attn["pooling"][1, :, :90], alone.attn["pooling"][1]
    )
    assert not found.attn["pooling"][1, :, 90:].any()


@pytest.mark.parametrize("patches", [1, 2, 3, 5, 9, 50])
@pytest.mark.parametrize("exact_below", [0, 1000])
def test_a_bag_of_any_size_fills_a_square(patches: int, exact_below: int) -> None:
    prediction = small(exact_below=exact_below)(cases(patches))

    assert prediction.logit.isfinite().all()
    weights = prediction.attn["pooling"]
    assert weights.shape == (2, 1, patches)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 1))


def test_the_first_patches_are_repeated_to_fill_it() -> None:
    network, batch = small(), cases(7)
    filled = torch.cat([batch.wsi, batch.wsi[:, :2]], dim=1)

    # The last two patches of nine are the first two again.
    again = replace(cases(9), wsi=filled)

    short, full = network(batch), network(again)
    torch.testing.assert_close(short.logit, full.logit)
    weights = full.attn["pooling"].clone()
    weights[..., :2] += weights[..., 7:]
    torch.testing.assert_close(short.attn["pooling"], weights[..., :7])


def test_the_order_of_a_bag_matters() -> None:
    network, batch = small(), cases(30)

    turned = network(replace(batch, wsi=batch.wsi.flip(1))).logit

    assert not torch.allclose(turned, network(batch).logit)


def test_the_position_encoding_is_three_convolutions_beside_the_map() -> None:
    torch.manual_seed(0)
    encoding = PositionEncoding(4)
    tokens = torch.randn(1, 26, 4)

    found = encoding(tokens, 5)

    maps = tokens[:, 1:].transpose(1, 2).reshape(1, 4, 5, 5)
    kernels = (encoding.large, encoding.middle, encoding.small)
    around = maps + sum(kernel(maps) for kernel in kernels)
    torch.testing.assert_close(found[:, 1:], around.flatten(2).transpose(1, 2))
    assert torch.equal(found[:, :1], tokens[:, :1])


def test_exact_attention_is_taken_below_its_bound() -> None:
    batch = cases(150)

    logits = [
        small(landmarks=marks, exact_below=bound)(batch).logit
        for marks, bound in ((16, 1000), (32, 1000), (16, 0), (32, 0))
    ]

    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[2], logits[3])


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        TransMilConfig(width=10, heads=4)
