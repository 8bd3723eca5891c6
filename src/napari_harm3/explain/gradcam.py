"""Grad-CAM of the volumes: Fig. 2 of the paper.

The channel weights are pytorch-grad-cam's. Capture and upsampling are ours: a network
hands out its last convolutional maps by role, in the graph, so that one backward pass
explains all four volumes and no hook, gradient or mode is left behind.

Reference: Selvaraju et al., Grad-CAM, IJCV 2020.
"""

import numpy as np
import torch
from jaxtyping import Float
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn
from torch.nn.functional import interpolate

from napari_harm3.models.interface import CaseBatch, Prediction

MAP_AXES = 3


def heat_maps(
    network: nn.Module, batch: CaseBatch
) -> tuple[Prediction, dict[str, Float[np.ndarray, "B d h w"]]]:
    """Return a prediction and the evidence for pCR in each present volume.

    Raw magnitudes are kept, so that the four maps share a scale; a volume that is
    absent from every case has no map.

    Parameters
    ----------
    network
        In any mode; explained in evaluation mode, which uses the VAE's mean.
    batch
        One case or several.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.enable_grad():
            prediction = network(batch)
            roles = list(prediction.feature_maps)
            maps = [prediction.feature_maps[role] for role in roles]
            # Cases do not mix in evaluation mode, so the sum's gradient is each one's.
            gradients = torch.autograd.grad(
                prediction.logit.sum(), maps, materialize_grads=True
            )
    finally:
        network.train(was_training)
    present = batch.mri_avail.flatten(1).any(dim=0).tolist()
    cams = {
        role: grad_cam(activation, gradient)
        for role, activation, gradient, there in zip(
            roles, maps, gradients, present, strict=True
        )
        if there
    }
    return prediction, cams


def grad_cam(
    activation: Float[Tensor, "B C d h w"], gradient: Float[Tensor, "B C d h w"]
) -> Float[np.ndarray, "B d h w"]:
    """Return the rectified sum of the channels, each weighed by its mean gradient."""
    values = activation.detach().double().cpu().numpy()
    slopes = gradient.detach().double().cpu().numpy()
    # The method needs none of the object's state, and the constructor sets hooks.
    method = GradCAM.__new__(GradCAM)
    weights = method.get_cam_weights(None, None, None, values, slopes)
    method.activations_and_grads = _NoHooks()
    return np.maximum(np.einsum("bc,bcdhw->bdhw", weights, values), 0)


def upsampled(
    cam: Float[np.ndarray, "d h w"], size: tuple[int, int, int]
) -> Float[np.ndarray, "D H W"]:
    """Return a map on the model's grid: trilinear between the centres of its cells."""
    tensor = torch.from_numpy(np.ascontiguousarray(cam))[None, None]
    fine = interpolate(tensor, size=size, mode="trilinear", align_corners=False)
    return fine[0, 0].numpy()


class _NoHooks:
    """Stands where the object's destructor looks for hooks to release."""

    def release(self) -> None:
        """Release nothing."""
