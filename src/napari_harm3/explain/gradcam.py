"""Heat maps of the volumes: Fig. 2 of the paper.

The weighing of channels is pytorch-grad-cam's. Capture and upsampling are ours: one
backward pass explains all four volumes, and no hook, gradient or mode is left behind.

References: Grad-CAM (Selvaraju et al., IJCV 2020), Grad-CAM++ (Chattopadhyay et al.,
WACV 2018), HiResCAM (Draelos and Carin, arXiv:2011.08891), LayerCAM (Jiang et al., IEEE
TIP 2021), XGrad-CAM (Fu et al., BMVC 2020).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from torch import Tensor, nn

from napari_harm3.errors import ModelError
from napari_harm3.explain.capture import Captured, capture, evaluating
from napari_harm3.explain.cells import BatchMaps, Centres
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.models.interface import CaseBatch, Prediction

FIG_2 = ExplainConfig()
"""What the paper shows: Grad-CAM of the last layer, for pCR."""

METHODS = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "hirescam": HiResCAM,
    "layercam": LayerCAM,
    "xgradcam": XGradCAM,
}
"""All five hold in three dimensions, as of pytorch-grad-cam 1.5.7."""

PLACEWISE = ("hirescam", "layercam")
"""Those that weigh every cell, not a channel as a whole."""

RECTIFIED = ("gradcam++", "xgradcam")
"""Those that divide by the sum of a channel, as the papers do after a rectifier."""

LEAST_SUM = 0.1
"""Share of a channel's absolute sum, below which its sum is nothing to divide by."""

LEAST_NET = 0.01
"""Share of what a layer's cells say for and against, below which the difference says
nothing: 0.005 at most where a network normalises them, 0.07 or more where it does not,
over the registered networks as they are drawn."""

FAR_FROM_EPS = 1e6
"""Peak that values are brought to, beside which the 1e-6 that pytorch-grad-cam adds to
a denominator is nothing: it halves Grad-CAM++'s weights of gradients near 7e-4."""

SPACE = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class HeatMaps:
    """A prediction, the map of each present volume, and where its cells lie."""

    prediction: Prediction
    maps: BatchMaps
    centres: dict[str, Centres]


def heat_maps(
    network: nn.Module, batch: CaseBatch, config: ExplainConfig = FIG_2
) -> tuple[Prediction, BatchMaps]:
    """Return the prediction and the maps of `located_heat_maps`."""
    found = located_heat_maps(network, batch, config)
    return found.prediction, found.maps


def located_heat_maps(
    network: nn.Module, batch: CaseBatch, config: ExplainConfig = FIG_2
) -> HeatMaps:
    """Return a prediction and the evidence for the target in each present volume.

    Raw magnitudes are kept, so that the maps share a scale. A volume that is absent
    from every case, or that the network does not look at, has no map; rows of cases
    that lack it are zero. Where a network takes volumes as channels, their one map
    stands under each.

    Parameters
    ----------
    network
        In any mode; explained in evaluation mode, which uses the VAE's mean.
    batch
        One case or several.
    config
        Method, layer and target; see `evidence` for how they make the map.

    Raises
    ------
    ModelError
        If the network has no such layer, or the method does not suit it.
    """
    with torch.enable_grad(), evaluating(network):
        return maps_captured(capture(network, batch, config.layer), config)


def maps_captured(captured: Captured, config: ExplainConfig) -> HeatMaps:
    """Return the maps of `located_heat_maps`; the graph is used up.

    Parameters
    ----------
    captured
        In evaluation mode, of the layer that is configured.
    config
        Method and target.

    Raises
    ------
    ModelError
        If the method does not suit the network.
    """
    outputs = captured.outputs
    # Cases do not mix in evaluation mode, so the sum's gradient is each one's.
    gradients = (
        torch.autograd.grad(
            captured.prediction.logit.sum(), outputs, materialize_grads=True
        )
        if outputs
        else ()
    )
    activations, slopes = captured.by_role(outputs), captured.by_role(gradients)
    maps = {
        role: evidence(activations[role], slopes[role], config) for role in activations
    }
    return HeatMaps(prediction=captured.prediction, maps=maps, centres=captured.centres)


def evidence(
    activation: Float[Tensor, "B C d h w"],
    gradient: Float[Tensor, "B C d h w"],
    config: ExplainConfig = FIG_2,
) -> Float[np.ndarray, "B d h w"]:
    """Return what a layer's cells say for the target.

    For ``pcr`` the map is of the logit, for ``non-pcr`` of its negative; both are
    rectified, zero where nothing speaks for the target. ``contrast`` is signed: the map
    for pCR minus the map against it. With Grad-CAM, HiResCAM and XGrad-CAM, which are
    linear in the gradient, that is the sum over channels as it was before it was
    rectified.

    Grad-CAM++ leaves out the factor exp(logit), which is the same for a whole case.

    Parameters
    ----------
    activation
        Output of the layer.
    gradient
        Of the log-odds of pCR by it, whatever the target.

    Raises
    ------
    ModelError
        If the method divides by the sum of a channel, and one sums up to nothing; if
        it weighs each cell by itself, and a cell sums up to nothing.
    """
    values = activation.detach().double().cpu().numpy()
    slopes = gradient.detach().double().cpu().numpy()
    if config.method in RECTIFIED:
        _check_rectified(values, config)
    if config.method in PLACEWISE:
        _check_cells(values, slopes, config)
    if config.target == "contrast":
        return _map(values, slopes, config) - _map(values, -slopes, config)
    return _map(values, -slopes if config.target == "non-pcr" else slopes, config)


def _map(
    values: Float[np.ndarray, "B C d h w"],
    slopes: Float[np.ndarray, "B C d h w"],
    config: ExplainConfig,
) -> Float[np.ndarray, "B d h w"]:
    """Return the rectified sum of the weighed channels."""
    # The methods need none of the object's state, and the constructor sets hooks.
    kind = METHODS[config.method]
    method: Any = kind.__new__(kind)
    method.activations_and_grads = _NoHooks()
    if config.method in PLACEWISE:
        cam = method.get_cam_image(None, None, None, values, slopes, eigen_smooth=False)
        return np.maximum(cam, 0)
    scaled, steep, gain = values, slopes, np.ones((len(values), 1, 1, 1, 1))
    if config.method == "xgradcam":  # its weights do not change with the activations'
        scaled = values * _gain(values)
    elif config.method == "gradcam++":  # nor with g -> kg, A -> A/k, but for k itself
        gain = _gain(slopes)
        scaled, steep = values / gain, slopes * gain
    weights = method.get_cam_weights(None, None, None, scaled, steep)
    return np.maximum(np.einsum("bc,bcdhw->bdhw", weights, values / gain), 0)


def _gain(values: Float[np.ndarray, "B C d h w"]) -> Float[np.ndarray, "B 1 1 1 1"]:
    """Return what brings each case's values far from the library's epsilon."""
    peak = np.abs(values).max(axis=(1, *SPACE), keepdims=True)
    return FAR_FROM_EPS / np.where(peak > 0, peak, FAR_FROM_EPS)


def _check_rectified(
    values: Float[np.ndarray, "B C d h w"], config: ExplainConfig
) -> None:
    if (values.sum(axis=SPACE) < LEAST_SUM * np.abs(values).sum(axis=SPACE)).any():
        others = ", ".join(name for name in METHODS if name not in RECTIFIED)
        raise ModelError(
            f"{config.method} divides by the sum of a channel, and in the layer "
            f"'{config.layer}' of this network values of both signs cancel: choose "
            f"{others}, or a layer that ends in a rectifier."
        )


def _check_cells(
    values: Float[np.ndarray, "B C d h w"],
    slopes: Float[np.ndarray, "B C d h w"],
    config: ExplainConfig,
) -> None:
    """Refuse a layer whose cells the network normalises, each by itself.

    A cell may then be made greater without any effect, so that its values times their
    gradients add up to nothing: what is left is rounding.
    """
    products = values * slopes
    net = np.abs(products.sum(axis=1)).max()
    if net < LEAST_NET * np.abs(products).sum(axis=1).max():
        raise ModelError(
            f"{config.method} weighs each cell by itself, and this network normalises "
            f"each cell of the layer '{config.layer}', so that what speaks for and "
            "against pCR cancels there: choose gradcam, or an inner layer."
        )


class _NoHooks:
    """Stands where the object's destructor looks for hooks to release."""

    def release(self) -> None:
        """Release nothing."""
