"""A case's link between slide and MRI, ready to be asked either way.

A click on a patch shows where in the MRI its question goes; a click on a voxel shows
the patches that ask it. Only numpy is needed, so that a viewer without torch can load
and ask it; `explain.case_link` makes it.

What it does and does not say: the weights are Eq. (6)'s own, P and A of
`explain.cross_attention`, the mean over heads. The self-attention of section 2.2 comes
before Eq. (6), so that the token of a cell also carries something of others, which is
not followed back. A cell is as large as the encoder's field in steps, and attention is
where the network looks, not why it decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float, Int

from napari_harm3.artifacts import atomic_path
from napari_harm3.cohort.case import ROLES, SEQUENCES, TIMES
from napari_harm3.errors import ModelError
from napari_harm3.explain.cross_attention import (
    mri_to_patches,
    patch_to_mri,
    strongest_pairs,
)
from napari_harm3.explain.patch_places import PatchPlaces

FORMAT = "harm3-link-2"
ARRAYS = ("pooling", "cross", "layout", "available", "affine", "view")
BOTH_TIMES = -1
"""Stands for the time in a layout whose times were added up."""


@dataclass(frozen=True, kw_only=True)
class CaseLink:
    """Who asks whom: N patches, M MRI tokens, and the k tokens between them."""

    case_id: str
    pooling: Float[np.ndarray, "k N"]
    """What each pooled token takes of every patch, float32; the tokens of several
    folds stand one after another."""

    cross: Float[np.ndarray, "k M"]
    """What each of them asks of every MRI token, float32."""

    layout: Int[np.ndarray, "M 5"]
    """Sequence, time, z, y, x of every MRI token; -1 for both times added up."""

    available: Bool[np.ndarray, "2 2"]
    """Which volumes there are, by sequence and time."""

    affine: Float[np.ndarray, "4 4"]
    """From a cell's z, y, x to RAS mm of the case's common space."""

    view: Float[np.ndarray, "2 3"]
    """Where the model's field of view begins and ends, as such a z, y, x: an outer cell
    has what lies beyond it, up to there."""

    places: PatchPlaces
    transforms: Mapping[str, Float[np.ndarray, "4 4"]] = field(default_factory=dict)
    """From there to each role's own RAS mm, where a registration moved it."""

    folds: tuple[int, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """The volumes that the link knows."""
        there = self.available.ravel().tolist()
        return tuple(
            role for role, present in zip(ROLES, there, strict=True) if present
        )

    @property
    def times_apart(self) -> bool:
        """Whether a token is of one time, or pre and post were added up in it."""
        return bool((self.layout[:, 1] != BOTH_TIMES).all())

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        """Cells of a volume along z, y, x."""
        z, y, x = (self.layout[:, 2:].max(axis=0) + 1).tolist()
        return z, y, x

    def mri_of_patch(
        self, patch: int | Sequence[int], *, lift: bool = False
    ) -> Float[np.ndarray, "M"]:
        """Return the share of a patch's question that goes to each MRI token.

        Of several patches it is their common question. With `lift` it is told how
        many times more than the whole slide's.
        """
        answer = patch_to_mri(self.pooling, self.cross, patch)
        return _over(answer, self.cross.mean(axis=0)) if lift else answer

    def patches_of_token(
        self, token: int | Sequence[int], *, lift: bool = False
    ) -> Float[np.ndarray, "N"]:
        """Return each patch's share of what is asked of an MRI token."""
        answer = mri_to_patches(self.pooling, self.cross, token)
        return _over(answer, self.pooling.mean(axis=0)) if lift else answer

    def patches_at(
        self, role: str, ras_mm: Sequence[float], *, lift: bool = False
    ) -> Float[np.ndarray, "N"] | None:
        """Return each patch's share of what is asked of a place in a volume.

        None where the volume is absent, or the place outside of the model's view.
        """
        token = self.token_at(role, ras_mm)
        return None if token is None else self.patches_of_token(token, lift=lift)

    def patch_at(self, slide: str, x: float, y: float) -> int | None:
        """Return the patch at a level-0 pixel of a slide; None beside the patches."""
        return self.places.at(slide, x, y)

    def token_at(self, role: str, ras_mm: Sequence[float]) -> int | None:
        """Return the MRI token whose cell is nearest to a place in a volume's RAS mm.

        None where the volume is absent, or the place outside of the model's view.
        """
        if role not in self.roles:
            return None
        inverse = np.linalg.inv(self.cell_affine(role))
        place = inverse[:3, :3] @ np.asarray(ras_mm, float) + inverse[:3, 3]
        first, last = self.view
        if (place < first).any() or (place >= last).any():
            return None
        nearest = np.floor(place + 0.5).astype(int)
        cell = np.clip(nearest, 0, np.array(self.grid) - 1)
        return int(self._tokens[ROLES.index(role)][tuple(cell)])

    def maps(
        self, shares: Float[np.ndarray, "M"]
    ) -> dict[str, Float[np.ndarray, "d h w"]]:
        """Return an answer as a map of cells for every volume that there is.

        `cell_affine` places them. Where the times were added up the one map of a
        sequence stands under both, and the maps of a share add up to two.
        """
        return {role: shares[self._tokens[ROLES.index(role)]] for role in self.roles}

    def cell_affine(self, role: str) -> Float[np.ndarray, "4 4"]:
        """Return the way from a cell's z, y, x to RAS mm of a volume's own space."""
        if role in self.transforms:
            return np.asarray(self.transforms[role] @ self.affine)
        return self.affine

    def strongest(
        self, count: int
    ) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Return pairs (patch, MRI token), their share of all links, and their lift."""
        return strongest_pairs(self.pooling, self.cross, count)

    def to_npz(self, path: Path) -> None:
        """Write the link atomically, to be read without torch."""
        arrays: dict[str, Any] = {
            "format": FORMAT,
            "case_id": self.case_id,
            "folds": np.array(self.folds, int),
            **{name: getattr(self, name) for name in ARRAYS},
            **{f"place_{name}": one for name, one in self.places.to_arrays().items()},
            **{f"transform_{role}": move for role, move in self.transforms.items()},
        }
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    @classmethod
    def from_npz(cls, path: Path) -> "CaseLink":
        """Return a link that was written.

        Raises
        ------
        ModelError
            If the file is missing, damaged or no link.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                stored = dict(file)
            return _from_arrays(stored)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            BadZipFile,
            EOFError,
        ) as error:
            raise ModelError(
                f"{path.name} is no link between slide and MRI that can be read: "
                "explain the case again."
            ) from error

    @cached_property
    def _tokens(self) -> Int[np.ndarray, "4 d h w"]:
        """Number of every cell's token, by role."""
        tokens = np.zeros((len(SEQUENCES), len(TIMES), *self.grid), int)
        numbers = np.arange(len(self.layout))
        for time in range(len(TIMES)):
            own = (self.layout[:, 1] == time) | (self.layout[:, 1] == BOTH_TIMES)
            sequence, _, z, y, x = self.layout[own].T
            tokens[sequence, time, z, y, x] = numbers[own]
        return tokens.reshape(-1, *self.grid)


def _over(
    answer: Float[np.ndarray, "n"], average: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    return np.divide(answer, average, out=np.zeros_like(answer), where=average > 0)


def _from_arrays(stored: Mapping[str, np.ndarray]) -> CaseLink:
    if str(stored["format"]) != FORMAT:
        raise ValueError("another format")

    def named(prefix: str) -> dict[str, np.ndarray]:
        start = len(prefix)
        return {k[start:]: v for k, v in stored.items() if k.startswith(prefix)}

    places = PatchPlaces.from_arrays(named("place_"))
    tokens, patches = stored["cross"].shape[1], stored["pooling"].shape[1]
    if (len(stored["layout"]), len(places)) != (tokens, patches):
        raise ValueError("its parts do not fit each other")
    return CaseLink(
        case_id=str(stored["case_id"]),
        **{name: stored[name] for name in ARRAYS},
        places=places,
        transforms=named("transform_"),
        folds=tuple(stored["folds"].tolist()),
    )
