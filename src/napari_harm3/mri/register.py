"""Lay one volume on another, rigidly: headers do not register sessions.

A transform is a 4x4 matrix from RAS mm of the fixed volume to RAS mm of the moving one,
so that `resampling.placed(moving, matrix)` is where the moving volume's voxels lie in
the fixed one's space.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from napari_harm3.artifacts import atomic_path, write_json
from napari_harm3.errors import Stopped, VolumeError
from napari_harm3.mri.affine import RAS_OF_LPS
from napari_harm3.mri.config import RegisterConfig
from napari_harm3.mri.intensity import foreground
from napari_harm3.mri.resampling import Transform, coarsened, placed, resample
from napari_harm3.mri.simpleitk import (
    body_mask,
    image_of,
    one_thread,
    simpleitk,
)
from napari_harm3.mri.volume import Geometry, Volume

LATTICE_MM = 3.0
"""Distance of the points at which the quality of a registration is measured."""

LEAST_SHARED = 0.5
"""Share of the fixed body that the moving volume must cover."""

LEAST_INFORMATION = 0.05
"""Normalised mutual information in the body. T2 on T1 of one head reaches 0.12,
another session 0.4; heads of two patients stay near 0.04."""

LEAST_CORRELATION = 0.6
"""Of one sequence at two times, in the body; the field's real pairs reach 0.9."""

MOST_MOVED_MM = 80.0
"""T2 lies no farther from T1; of one sequence at two times, which may lie anywhere,
the correlation tells more."""

STAYS = 0.5
"""A move by less than this share of a voxel leaves the volume where it was. It agrees a
little less only because intensities are interpolated between voxels."""

LISTEN_SECONDS = 0.1
"""How often a search looks whether it is to stop."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A rigid transform, and how far it is to be trusted."""

    matrix: Transform = field(default_factory=lambda: np.eye(4))
    """From RAS mm of the fixed volume to RAS mm of the moving one."""

    metric_before: float = 0.0
    metric: float = 0.0
    """Normalised mutual information of the two in the fixed body: 0 to 1."""

    correlation_before: float = 0.0
    correlation: float = 0.0
    """Of the intensities in the fixed body; means little between T1 and T2."""

    shared: float = 0.0
    """Share of the fixed body that the moved volume covers."""

    moved_mm: float = 0.0
    """Mean displacement in the fixed body."""

    poor: bool = False
    message: str = ""
    """Why it is poor; empty if it is not."""

    def save(self, path: Path, *, key: str = "") -> None:
        """Write ``path`` (JSON) and the transform beside it as ITK text, ``.tfm``.

        Any program of the ITK family resamples the moving volume with the latter.
        ``key`` names what the transform was found from.
        """
        sitk = simpleitk()
        lps = RAS_OF_LPS @ self.matrix @ RAS_OF_LPS
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(lps[:3, :3].ravel().tolist())
        transform.SetTranslation(lps[:3, 3].tolist())
        with atomic_path(path.with_suffix(".tfm")) as temporary:
            sitk.WriteTransform(transform, str(temporary))
        write_json(path, {"key": key, "registration": self.to_plain()})

    @classmethod
    def load(cls, path: Path) -> "Registration":
        """Return what `save` wrote.

        Raises
        ------
        VolumeError
            If it is missing or damaged.
        """
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            return cls.from_plain(about["registration"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise VolumeError(
                f"The registration {path.name} cannot be read: delete it, and it is "
                "made again."
            ) from error

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self) | {"matrix": self.matrix.tolist()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Registration":
        """Return what `to_plain` took apart.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is something else.
        """
        matrix = np.array(plain["matrix"], dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ValueError("a transform has four rows of four numbers")
        return cls(**{**plain, "matrix": matrix})


def register(
    moving: Volume,
    fixed: Volume,
    config: RegisterConfig | None = None,
    *,
    same_sequence: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Registration:
    """Return the rigid transform that lays one volume on another.

    It starts from the scanner's coordinates and, where that ends poorly, from the
    centres of mass. The same volumes give the same transform, bit by bit.

    Parameters
    ----------
    moving, fixed
        Two volumes of one patient.
    config
        How it is searched.
    same_sequence
        Whether both show the same contrast, so that they should correlate.
    stopped
        Asked now and then whether to give up.

    Raises
    ------
    VolumeError
        If SimpleITK is not installed.
    Stopped
        If ``stopped`` says so.
    """
    search = config or RegisterConfig()
    search = replace(search, ignore_air=search.ignore_air and same_sequence)
    lattice = _Lattice.of(fixed)
    before = lattice.judge(moving, np.eye(4), same_sequence=same_sequence)
    found = before
    for start in ("header", "moments"):
        matrix = _searched(moving, fixed, search, start, stopped)
        if matrix is None:
            continue
        judged = lattice.judge(moving, matrix, same_sequence=same_sequence)
        if found is before or judged.metric > found.metric:
            found = judged
        if not judged.poor:
            break
    message = found.message
    if found is before:
        message = "no transform was found: the two hardly overlap"
    elif (
        not message
        and found.moved_mm > STAYS * fixed.spacing_mm.min()
        and found.metric < 0.98 * before.metric
    ):
        message = "they agree less than by the scanner's coordinates alone"
    return replace(
        found,
        metric_before=before.metric,
        correlation_before=before.correlation,
        poor=bool(message),
        message=message
        and f"{moving.name} could not be laid on {fixed.name} reliably: {message}. "
        "Look at both before trusting it.",
    )


@dataclass(frozen=True, kw_only=True)
class _Lattice:
    """Points of the fixed body, a few millimetres apart."""

    grid: Geometry
    array: Float[np.ndarray, "x y z"]
    body: Bool[np.ndarray, "x y z"]

    @classmethod
    def of(cls, fixed: Volume) -> "_Lattice":
        factors = np.maximum(np.round(LATTICE_MM / fixed.spacing_mm), 1).astype(int)
        x, y, z = (int(n) for n in np.maximum(np.array(fixed.shape) // factors, 1))
        grid = Geometry(shape=(x, y, z), affine=coarsened(fixed.affine, factors))
        array = resample(fixed.array, fixed, grid)
        return cls(grid=grid, array=array, body=foreground(array))

    def judge(
        self, moving: Volume, matrix: Transform, *, same_sequence: bool
    ) -> Registration:
        """Return how well a transform lays the moving volume on these points."""
        there = placed(moving, matrix)
        seen = self.body & self._inside(there)
        shared = float(seen.sum() / max(self.body.sum(), 1))
        points = np.argwhere(self.body) @ self.grid.affine[:3, :3].T
        points += self.grid.affine[:3, 3]
        moved = points @ (matrix[:3, :3] - np.eye(3)).T + matrix[:3, 3]
        one = self.array[seen]
        other = resample(moving.array, there, self.grid)[seen]
        information, correlation = _agreement(one, other)
        found = Registration(
            matrix=matrix,
            metric=information,
            correlation=correlation,
            shared=shared,
            moved_mm=float(np.linalg.norm(moved, axis=1).mean()) if len(moved) else 0.0,
        )
        message = _complaint(found, same_sequence=same_sequence)
        return replace(found, poor=bool(message), message=message)

    def _inside(self, other: Geometry) -> Bool[np.ndarray, "x y z"]:
        """Return which points lie between the centres of boxes, as `resample` does."""
        to_other = np.linalg.inv(other.affine) @ self.grid.affine
        i, j, k = np.ogrid[tuple(slice(n) for n in self.grid.shape)]
        inside = np.ones(self.grid.shape, dtype=bool)
        for row, size in zip(to_other, other.shape, strict=False):
            index = row[0] * i + row[1] * j + row[2] * k + row[3]
            box = np.clip(np.floor(np.abs(row[:3]).max() + 1e-6), 1, size)
            rim = (box - 1) / 2 - 1e-6
            inside &= (index >= rim) & (index <= size - 1 - rim)
        return inside


def _complaint(found: Registration, *, same_sequence: bool) -> str:
    if found.shared < LEAST_SHARED:
        return f"they share only {found.shared:.0%} of the body"
    if not same_sequence and found.moved_mm > MOST_MOVED_MM:
        return f"it would have moved by {found.moved_mm:.0f} mm"
    if found.metric < LEAST_INFORMATION:
        return f"they tell little of each other (information {found.metric:.3f})"
    if same_sequence and found.correlation < LEAST_CORRELATION:
        return f"they correlate by {found.correlation:.2f} only"
    return ""


def _agreement(
    one: Float[np.ndarray, "N"], other: Float[np.ndarray, "N"]
) -> tuple[float, float]:
    """Return normalised mutual information and correlation of paired intensities."""
    if len(one) < 100 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0, 0.0
    one, other = (np.clip(v, *np.percentile(v, (0.5, 99.5))) for v in (one, other))
    joint = np.histogram2d(one, other, bins=32)[0] / len(one)
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    apart = _entropy(rows) + _entropy(columns)
    shared = apart - _entropy(joint.ravel())
    information = float(2 * shared / apart) if apart > 0 else 0.0
    flat = one.std() == 0 or other.std() == 0
    return information, 0.0 if flat else float(np.corrcoef(one, other)[0, 1])


def _entropy(share: Float[np.ndarray, "N"]) -> float:
    some = share[share > 0]
    return float(-(some * np.log(some)).sum())


def _searched(
    moving: Volume,
    fixed: Volume,
    config: RegisterConfig,
    start: str,
    stopped: Callable[[], bool],
) -> Transform | None:
    """Return where the search from one start ends; None if the two never meet."""
    sitk = simpleitk()
    transform = sitk.Euler3DTransform()
    middle = [(n - 1) / 2 for n in fixed.shape]
    centre = RAS_OF_LPS @ fixed.affine @ [*middle, 1]
    transform.SetCenter(centre[:3].tolist())
    try:
        if start == "moments":
            transform = sitk.Euler3DTransform(
                sitk.CenteredTransformInitializer(
                    image_of(_coarser(fixed, max(config.pyramid))),
                    image_of(_coarser(moving, max(config.pyramid))),
                    transform,
                    sitk.CenteredTransformInitializerFilter.MOMENTS,
                )
            )
        for level in config.pyramid:
            search = sitk.ImageRegistrationMethod()
            search.SetMetricAsMattesMutualInformation(config.bins)
            search.SetMetricSamplingStrategy(search.RANDOM)
            search.SetMetricSamplingPercentage(config.sampling, config.seed)
            search.SetInterpolator(sitk.sitkLinear)
            search.SetOptimizerAsRegularStepGradientDescent(
                learningRate=2.0, minStep=1e-3, numberOfIterations=config.iterations
            )
            search.SetOptimizerScalesFromPhysicalShift()
            search.SetInitialTransform(transform, inPlace=True)
            coarse = _coarser(fixed, level)
            if config.ignore_air:
                search.SetMetricFixedMask(body_mask(coarse))
            images = [image_of(coarse), image_of(_coarser(moving, level))]
            _execute(search, images, stopped)
    except RuntimeError:  # ITK: no sample of one lies in the other
        return None
    matrix = np.eye(4)
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    pivot = np.array(transform.GetCenter())
    matrix[:3, :3] = rotation
    matrix[:3, 3] = transform.GetTranslation() + pivot - rotation @ pivot
    return RAS_OF_LPS @ matrix @ RAS_OF_LPS


def _execute(search: Any, images: list[Any], stopped: Callable[[], bool]) -> None:
    """Let a search run to its end, or only to its next step once it is to stop.

    It runs beside this thread, which so hears ``stopped`` and Ctrl+C at once: an error
    that rose in ITK's own call of Python would be lost.
    """
    enough = Event()
    step = simpleitk().sitkIterationEvent
    search.AddCommand(step, lambda: enough.is_set() and search.StopRegistration())
    with one_thread(), ThreadPoolExecutor(max_workers=1) as beside:
        running = beside.submit(search.Execute, *images)
        try:
            while not stopped():
                if wait([running], timeout=LISTEN_SECONDS).done:
                    running.result()
                    break
            else:
                raise Stopped("Registration stopped; what was finished is kept.")
        finally:
            enough.set()
    search.RemoveAllCommands()  # they hold the search, and it holds them


def _coarser(volume: Volume, level: int) -> Volume:
    """Return a volume whose voxels are averaged in boxes, thick slices less.

    MRI slices are often thick: dividing them as often as the rows would leave none.
    """
    spacing = volume.spacing_mm
    factors = np.clip(np.round(level * spacing.min() / spacing), 1, level).astype(int)
    factors = np.minimum(factors, volume.shape)
    x, y, z = (int(n) for n in np.array(volume.shape) // factors)
    grid = Geometry(shape=(x, y, z), affine=coarsened(volume.affine, factors))
    return replace(
        volume,
        shape=grid.shape,
        affine=grid.affine,
        array=resample(volume.array, volume, grid),
    )
