"""The slow brightening of a volume towards the coil, evened out."""

from dataclasses import replace

import numpy as np

from napari_harm3.mri.simpleitk import body_mask, image_of, one_thread, simpleitk
from napari_harm3.mri.volume import Volume

BIAS_MM = 6.0
"""Distance of the voxels that a bias field is fitted to."""


def without_bias(volume: Volume) -> Volume:
    """Return a volume whose slow brightening towards the coil is evened out (N4).

    Raises
    ------
    VolumeError
        If SimpleITK is not installed.
    """
    sitk = simpleitk()
    whole, body = image_of(volume), body_mask(volume)
    shrink = [max(1, round(BIAS_MM / length)) for length in volume.spacing_mm]
    # The field is smooth: it is fitted to few voxels and applied to all.
    with one_thread():
        correct = sitk.N4BiasFieldCorrectionImageFilter()
        correct.SetMaximumNumberOfIterations([30, 30, 20])
        correct.Execute(sitk.Shrink(whole, shrink), sitk.Shrink(body, shrink))
    bias = sitk.GetArrayFromImage(correct.GetLogBiasFieldAsImage(whole))
    array = volume.array / np.exp(bias.transpose(2, 1, 0))
    return replace(volume, array=array.astype(np.float32))
