"""Rigid transforms that lie beside volumes, in ITK's text format.

A file is named after what it leads from and to: ``study1_T1W_intrastudy_to_FLAIR.txt``
and ``study1_FLAIR_to_common_space.txt`` lead from study1_T1W to common_space. As ITK
resamples with them, each takes a point of the latter to one of the former.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import RAS_OF_LPS
from napari_harm3.mri.resampling import Transform

NAME = re.compile(r"(?P<source>.+?)(?:_intrastudy)?_to_(?P<target>.+)\.(?:txt|tfm)")
MAGIC = "#Insight Transform File"
MOST_CHARACTERS = 1 << 16
MOST_STRETCH = 0.1
"""A rigid transform keeps lengths; those fitted in practice do so to a few percent."""

Numbers = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """How a volume lies in a space that others share."""

    space: str
    matrix: Transform
    """From RAS mm of that space to RAS mm of the volume's own."""


def chain_of(volume: Path) -> Chain | None:
    """Return where the transforms beside a volume lead; None if there is none for it.

    Raises
    ------
    VolumeError
        If one of them is no rigid transform in ITK's text format.
    """
    steps = {}
    for file in sorted(volume.parent.iterdir()):
        if match := NAME.fullmatch(file.name):
            steps[match["source"]] = (match["target"], file)
    name = volume.name.removesuffix(".gz").rsplit(".", 1)[0]
    if name not in steps:
        return None
    matrix = np.eye(4)
    while name in steps:
        target, file = steps.pop(name)
        matrix = matrix @ read_itk_transform(file)
        # A sequence of the same study is named without the study.
        sibling = f"{name.rpartition('_')[0]}_{target}"
        name = sibling if sibling in steps else target
    return Chain(space=name, matrix=matrix)


def read_itk_transform(path: Path) -> Transform:
    """Return a transform of ITK's text format, in RAS mm and as the file has it.

    Raises
    ------
    VolumeError
        If it is damaged, of a kind that is not rigid, or more than one.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            matrix, offset, centre = _read(stream.read(MOST_CHARACTERS))
    except OSError as error:
        raise VolumeError(f"{path.name} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, IndexError) as error:
        raise VolumeError(
            f"{path.name} is no rigid transform in ITK's text format ({error}): write "
            "it with SimpleITK.WriteTransform, one transform a file."
        ) from error
    lps = np.eye(4)
    lps[:3, :3] = matrix
    lps[:3, 3] = offset + centre - matrix @ centre
    return RAS_OF_LPS @ lps @ RAS_OF_LPS


def _read(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return matrix, translation and centre of the one transform in a file."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith(MAGIC):
        raise ValueError("its first line is not ITK's")
    pairs = [line.partition(":") for line in lines if not line.startswith("#")]
    said = [(key.strip(), value.strip()) for key, _, value in pairs if key.strip()]
    if [key for key, _ in said] != ["Transform", "Parameters", "FixedParameters"]:
        raise ValueError("it does not hold one transform")
    kind = said[0][1].split("_")[0]
    numbers, fixed = ([float(n) for n in value.split()] for _, value in said[1:])
    if kind not in KINDS:
        raise ValueError(f"{kind or 'its kind'} is not read")
    count, read = KINDS[kind]
    if len(numbers) != count or not np.isfinite([*numbers, *fixed]).all():
        raise ValueError(f"it has not {count} numbers")
    matrix = read(numbers, fixed)
    stretch = np.linalg.svd(matrix, compute_uv=False)
    if np.abs(stretch - 1).max() > MOST_STRETCH or np.linalg.det(matrix) < 0:
        raise ValueError("it stretches or mirrors")
    centre = np.array(fixed[:3] if len(fixed) >= 3 else [0.0, 0.0, 0.0])
    return matrix, np.array(numbers[-3:]), centre


def _euler(numbers: Numbers, fixed: Numbers) -> np.ndarray:
    x, y, z = numbers[:3]
    # ITK turns about y, x, z in turn, unless its last fixed number says x, y, z.
    order = ("ZYX", [z, y, x]) if fixed[3:] and fixed[3] else ("ZXY", [z, x, y])
    return Rotation.from_euler(*order).as_matrix()


def _versor(numbers: Numbers, _: Numbers) -> np.ndarray:
    x, y, z = numbers[:3]
    real = np.sqrt(1 - min(x * x + y * y + z * z, 1))
    return Rotation.from_quat([x, y, z, real]).as_matrix()


def _matrix(numbers: Numbers, _: Numbers) -> np.ndarray:
    return np.array(numbers[:9]).reshape(3, 3)


KINDS: dict[str, tuple[int, Callable[[Numbers, Numbers], np.ndarray]]] = {
    "MatrixOffsetTransformBase": (12, _matrix),
    "AffineTransform": (12, _matrix),
    "Euler3DTransform": (6, _euler),
    "VersorRigid3DTransform": (6, _versor),
}
"""How many numbers each kind has, and its matrix; the last three are its shift."""
