"""The feature extraction network: its size, its grid."""

import pytest
import torch

from napari_harm3.models.layers.resnet3d import PaddedShortcut, ResNet3d


@pytest.mark.parametrize(
    ("depth", "millions"), [(10, 14.36), (18, 33.16), (34, 63.47), (50, 46.16)]
)
def test_the_size_is_that_of_a_3d_resnet(depth: int, millions: float) -> None:
    with torch.device("meta"):
        encoder = ResNet3d(depth=depth)

    count = sum(weight.numel() for weight in encoder.parameters())

    assert count / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize(
    ("stride", "volume", "cells"),
    [
        ((8, 16, 16), (32, 128, 128), (4, 8, 8)),
        ((4, 8, 8), (12, 32, 32), (3, 4, 4)),
        ((8, 32, 32), (32, 128, 128), (4, 4, 4)),
        ((1, 4, 4), (5, 20, 12), (5, 5, 3)),
        ((4, 8, 16), (13, 33, 33), (4, 5, 3)),
    ],
)
def test_the_output_stride_decides_the_map(stride, volume, cells) -> None:
    with torch.device("meta"):
        encoder = ResNet3d(depth=10, output_stride=stride)
        maps = encoder(torch.empty(2, 1, *volume))

    assert maps.shape == (2, 512, *cells)


@pytest.mark.parametrize(
    ("stride", "volume", "cells"),
    [
        ((8, 16, 16), (32, 128, 128), (4, 8, 8)),
        ((4, 8, 8), (12, 32, 32), (3, 4, 4)),
        ((32, 32, 32), (33, 64, 60), (2, 2, 2)),
    ],
)
@pytest.mark.parametrize("depth", [18, 50])
def test_so_it_does_with_isotropic_stem_and_padded_shortcuts(
    depth: int, stride, volume, cells
) -> None:
    encoder = ResNet3d(
        depth=depth,
        base_channels=2,
        output_stride=stride,
        stem="isotropic",
        shortcut="padding",
    )

    maps = encoder(torch.randn(2, 1, *volume))

    assert maps.shape == (2, encoder.out_channels, *cells)
    assert encoder.stem[0].weight.shape == (2, 1, 7, 7, 7)
    assert not any("shortcut" in name for name, _ in encoder.named_parameters())


def test_a_padded_shortcut_takes_every_second_voxel_and_adds_nothing() -> None:
    maps = torch.randn(1, 2, 5, 4, 3)

    shortened = PaddedShortcut(added=3, stride=(1, 2, 2))(maps)

    assert shortened.shape == (1, 5, 5, 2, 2)
    assert torch.equal(shortened[:, :2], maps[:, :, :, ::2, ::2])
    assert not shortened[:, 2:].any()


def test_a_cell_looks_where_it_lies() -> None:
    torch.manual_seed(0)
    encoder = ResNet3d(depth=10, base_channels=2, output_stride=(4, 8, 8)).eval()
    # Far from the borders, which would cut its field of view on one side.
    volume = torch.zeros(1, 1, 40, 96, 96, requires_grad=True)

    encoder(volume + torch.randn_like(volume))[0, :, 5, 6, 5].sum().backward()

    weight = volume.grad.square().sum(dim=(0, 1))
    places = [torch.arange(float(size)) for size in weight.shape]
    centre = [
        float(
            (weight.sum(dim=[a for a in range(3) if a != axis]) @ place) / weight.sum()
        )
        for axis, place in enumerate(places)
    ]
    expected = [4 * 5.5, 8 * 6.5, 8 * 5.5]  # middle of the cell, in voxels
    steps = (4, 8, 8)
    assert all(
        abs(found - middle) < step
        for found, middle, step in zip(centre, expected, steps, strict=True)
    )


@pytest.mark.parametrize("channels", [1, 6, 12])
def test_group_norm_suits_any_width(channels: int) -> None:
    encoder = ResNet3d(depth=10, base_channels=channels, norm="group")

    assert encoder(torch.randn(1, 1, 16, 64, 64)).isfinite().all()
