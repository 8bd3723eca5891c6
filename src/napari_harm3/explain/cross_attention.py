"""The link between slide and MRI that Eq. (6) draws, on arrays.

A patch p feeds the pooled tokens by the pooling's weights P[k, p], which add up to one
over the patches; token k asks the MRI token m by A[k, m] of Eq. (6), which add up to
one over the MRI. With every pooled token counting the same,

    J[p, m] = mean over k of P[k, p] A[k, m]

adds up to one over all pairs. Both directions are shares of this one table: what patch
p asks is its row, who asks cell m its column, each scaled to one. Several networks are
asked at once by putting their tokens one after another along k.

An attention that is nearly even gives every patch nearly the same answer; the `lift`,
J[p, m] over what it were if patch and cell had nothing to do with each other, tells
what is special to a pair (1 = nothing).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def patch_to_mri(
    pooling: Float[np.ndarray, "k N"],
    cross: Float[np.ndarray, "k M"],
    patch: int | Sequence[int],
) -> Float[np.ndarray, "M"]:
    """Return how strongly the question of a patch, or of some, goes to each MRI token.

    The answer adds up to one, or is zero where no token takes anything of the patch.
    """
    share = pooling[:, np.atleast_1d(np.asarray(patch, int))].sum(axis=1)
    return _weighed(share, cross)


def mri_to_patches(
    pooling: Float[np.ndarray, "k N"],
    cross: Float[np.ndarray, "k M"],
    token: int | Sequence[int],
) -> Float[np.ndarray, "N"]:
    """Return how strongly every patch's question goes to an MRI token, or to some.

    The answer adds up to one, or is zero where nobody asks the token.
    """
    share = cross[:, np.atleast_1d(np.asarray(token, int))].sum(axis=1)
    return _weighed(share, pooling)


def strongest_pairs(
    pooling: Float[np.ndarray, "k N"],
    cross: Float[np.ndarray, "k M"],
    count: int,
    *,
    block: int = 1024,
) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Return the pairs (patch, MRI token) of the largest J, J itself, and the lift.

    Parameters
    ----------
    pooling, cross
        P and A.
    count
        How many at most; pairs that nothing links are left out.
    block
        Patches whose row of J is held at once.
    """
    tokens = cross.shape[1]
    pairs, joint = np.zeros((0, 2), int), np.zeros(0)
    for start in range(0, pooling.shape[1], block):
        part = (pooling[:, start : start + block].T @ cross / len(cross)).ravel()
        best = np.argpartition(-part, min(count, part.size) - 1)[:count]
        rows, columns = np.divmod(best, tokens)
        pairs = np.concatenate([pairs, np.stack([rows + start, columns], axis=1)])
        joint = np.concatenate([joint, part[best].astype(float)])
        first = np.argsort(-joint, kind="stable")[:count]
        pairs, joint = pairs[first], joint[first]
    pairs, joint = pairs[joint > 0], joint[joint > 0]
    apart = pooling.mean(axis=0)[pairs[:, 0]] * cross.mean(axis=0)[pairs[:, 1]]
    return pairs, joint, joint / apart.astype(float)


def _weighed(
    share: Float[np.ndarray, "k"], rows: Float[np.ndarray, "k n"]
) -> Float[np.ndarray, "n"]:
    total = float(share.sum(dtype=float))
    if total <= 0:
        return np.zeros(rows.shape[1], rows.dtype)
    return np.asarray((share / total).astype(rows.dtype) @ rows)
