"""CLAM: its size, its clustering, its branches."""

import math
from dataclasses import replace

import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.baselines.bag_config import ClamConfig
from napari_harm3.models.baselines.clam import Clam

WIDTH = 12


def small(**fields) -> Clam:
    torch.manual_seed(0)
    plan = {"width": 16, "attention_width": 8, "dropout": 0.0, "instances": 3, **fields}
    return Clam(ClamConfig(**plan), volume_size=(4, 4, 4), patch_width=WIDTH)


def cases(patches: int = 20, **fields):
    batch = case_batch(2, patches=patches, patch_width=WIDTH)
    return replace(batch, **fields)


@pytest.mark.parametrize(
    ("patch_width", "millions"), [(1024, 0.791), (768, 0.660), (384, 0.463)]
)
def test_the_size_is_the_papers(patch_width: int, millions: float) -> None:
    with torch.device("meta"):
        network = Clam(ClamConfig(), volume_size=(4, 4, 4), patch_width=patch_width)

    count = sum(weight.numel() for weight in network.parameters())

    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_losses_weigh_as_in_the_paper() -> None:
    weights = small().loss_weights

    assert weights == pytest.approx({"bce": 0.7, "instance": 0.3})


def test_only_both_ends_of_the_attention_are_clustered() -> None:
    network, batch = small(), cases()
    bag = batch.wsi.requires_grad_()

    prediction = network(batch)
    prediction.losses["instance"].backward()

    order = prediction.attn["pooling"][:, 0].argsort(dim=1)
    for row, places in enumerate(order):
        ends = {*places[:3].tolist(), *places[-3:].tolist()}
        touched = bag.grad[row].any(dim=1).nonzero().flatten().tolist()
        assert set(touched) == ends


def test_the_loss_is_a_cross_entropy_with_the_margin_of_an_svm() -> None:
    scores = torch.tensor([[0.3, -0.5], [1.2, 0.1]])

    plain = small(instance_loss="ce").told_apart(scores, [0, 1])
    svm = small(instance_loss="svm").told_apart(scores, [0, 1])

    def smooth(margin: float) -> float:
        # log sum_j exp(margin [j != y] + s_j - s_y), at a temperature of 1
        first = math.log(1 + math.exp(margin - 0.5 - 0.3))
        second = math.log(1 + math.exp(margin + 1.2 - 0.1))
        return (first + second) / 2

    assert plain.item() == pytest.approx(smooth(0))
    assert svm.item() == pytest.approx(smooth(1))


@pytest.mark.parametrize("branches", ["single", "multi"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_other_class_learns_only_where_classes_exclude(
    branches: str, exclusive: bool
) -> None:
    network = small(branches=branches, exclusive=exclusive)
    batch = cases(label=torch.ones(2))

    network(batch).losses["instance"].backward()

    other, own = (one.weight.grad for one in network.classify_instance)
    assert own.any()
    assert (other is not None and bool(other.any())) == exclusive


@pytest.mark.parametrize(("patches", "clustered"), [(1, False), (2, True), (5, True)])
def test_small_bags_cluster_what_they_have(patches: int, clustered: bool) -> None:
    loss = small()(cases(patches)).losses["instance"]

    assert loss.isfinite()
    assert bool(loss) == clustered


def test_a_case_without_a_label_is_not_clustered() -> None:
    network = small()

    both = network(cases()).losses["instance"]
    one = network(cases(label=torch.tensor([0.0, math.nan]))).losses["instance"]
    none = network(cases(label=torch.full((2,), math.nan))).losses["instance"]

    assert one.isfinite()
    assert one != both
    assert none == 0
    assert not network.eval()(cases()).losses


def test_each_class_has_its_branch() -> None:
    batch = cases()

    shared, own = (
        small(branches=kind)(batch).attn["pooling"] for kind in ("single", "multi")
    )

    assert shared.shape == (2, 1, 20)
    assert own.shape == (2, 2, 20)
    assert not torch.allclose(own[:, 0], own[:, 1])


@pytest.mark.parametrize("branches", ["single", "multi"])
def test_the_logit_is_the_difference_of_two(branches: str) -> None:
    network, batch = small(branches=branches).eval(), cases()

    prediction = network(batch)

    hidden = network.project(batch.wsi)
    none, pcr = (
        (prediction.attn["pooling"][:, [row]] @ hidden)[:, 0] for row in (0, -1)
    )
    weight, bias = network.classify_bag.weight, network.classify_bag.bias
    expected = pcr @ weight[1] + bias[1] - none @ weight[0] - bias[0]
    torch.testing.assert_close(prediction.logit, expected)
