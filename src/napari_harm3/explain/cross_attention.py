"""The link between slide and MRI that Eq. (6) draws.

A patch p feeds the pooled tokens by the pooling's weights P[k, p]; token k asks the MRI
token m by A[k, m] of Eq. (6). What patch p and cell m have to do with each other is
their product summed over k.
"""

import numpy as np
from jaxtyping import Float


def patch_to_mri(
    pooling: Float[np.ndarray, "k N"], cross: Float[np.ndarray, "k M"], patch: int
) -> Float[np.ndarray, "M"]:
    """Return how strongly a patch's question goes to every MRI token.

    The answer adds up to one: pooling weights of the patch, scaled to one, choose
    among the tokens' attentions.
    """
    share = pooling[:, patch]
    return np.asarray(share @ cross / max(float(share.sum()), 1e-12))


def mri_to_patches(
    pooling: Float[np.ndarray, "k N"], cross: Float[np.ndarray, "k M"], token: int
) -> Float[np.ndarray, "N"]:
    """Return how strongly every patch's question goes to an MRI token."""
    share = cross[:, token]
    return np.asarray(share @ pooling / max(float(share.sum()), 1e-12))
