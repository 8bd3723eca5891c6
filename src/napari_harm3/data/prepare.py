"""A case's files as arrays, made once: the work folder."""

import glob
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Shaped, UInt8

from napari_harm3.artifacts import atomic_path, read_record, sha256_of, write_json
from napari_harm3.cohort.case import AXES, PARTS, ROLES, Case
from napari_harm3.config import from_plain, recipe_hash, to_plain
from napari_harm3.data.config import InputConfig
from napari_harm3.data.made import MadeMasks, MadeMri, rows_of
from napari_harm3.data.slides import bags_of, read_bags
from napari_harm3.errors import ConfigError, FeatureError, VolumeError
from napari_harm3.mri.annotation import LABELS, READING, read_annotation
from napari_harm3.mri.config import MriConfig, RegisterConfig
from napari_harm3.mri.formats import DETACHED
from napari_harm3.mri.preprocess import PreparedMri, prepare_volumes
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import placed, resample_labels
from napari_harm3.mri.volume import Geometry, Volume

if TYPE_CHECKING:
    from napari_harm3.mri.alignment import Alignment
    from napari_harm3.mri.register import Registration

Made = TypeVar("Made", MadeMri, MadeMasks)


@dataclass(frozen=True, kw_only=True)
class PreparedCase:
    """Where a case's arrays lie, and what they were made of."""

    case: Case
    mri: Path | None
    bags: tuple[Path, ...]
    sources: Mapping[str, str]
    """Content of each source by column: SHA-256 of volumes, fingerprint of slides."""

    contents: Mapping[str, str] = field(default_factory=dict)
    """Of volumes by column what stays the same when a file is packed anew, where it is
    known: `Volume.unpacked`."""

    masks: Path | None = None
    """Annotations on the common grid, where `prepare_masks` made them; never stale."""

    @property
    def identities(self) -> dict[str, str]:
        """By any of which a source is known again, whatever its name or its packing."""
        unpacked = {f"{role}, unpacked": one for role, one in self.contents.items()}
        return {**self.sources, **unpacked}


def prepare_mri(
    case: Case,
    config: MriConfig,
    work: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Put a case's volumes on their common grid, unless that is done already.

    Returns
    -------
    :
        ``mri/<case_id>/<recipe>.npy``, or None for a case without volumes.

    Raises
    ------
    VolumeError
        If a volume cannot be trusted, or they do not belong together.
    Stopped
        If ``stopped``, which registration asks now and then, says so.
    """
    if not case.volumes:
        return None
    path = _mri_path(case, config, work)
    if _fresh_mri(case, path):
        return path
    volumes = {role: read_volume(file) for role, file in case.volumes.items()}
    alignment = None
    if config.register == "rigid":
        alignment = aligned_case(case, volumes, work, stopped=stopped)
    if config.bias_field:
        from napari_harm3.mri.bias import without_bias

        volumes = {role: without_bias(one) for role, one in volumes.items()}
    prepared = prepare_volumes(
        volumes,
        config,
        transforms=None if alignment is None else alignment.transforms,
        registered=None if alignment is None else not alignment.warnings,
        masks=_masks_to_crop(case, config, volumes),
    )
    _save_array(path, prepared.array)
    made = MadeMri(
        recipe=to_plain(config),
        sources=dict(prepared.sources),
        contents={r: v.unpacked for r, v in volumes.items() if v.unpacked},
        stamps={role: file_stamp(file) for role, file in case.volumes.items()},
        affine=rows_of(prepared.affine),
        available=rows_of(prepared.available),
        aligned=prepared.aligned,
        transforms={role: rows_of(m) for role, m in prepared.transforms.items()},
        registrations={} if alignment is None else alignment.to_plain(),
        warnings={} if alignment is None else alignment.warnings,
    )
    write_json(path.with_suffix(".json"), to_plain(made))
    return path


def aligned_case(
    case: Case,
    volumes: Mapping[str, Volume],
    work: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> "Alignment":
    """Return how a case's volumes lie on each other; what was found before is kept.

    Each transform stands in ``mri/<case_id>/<role>-on-<role>.json`` and ``.tfm``.

    Raises
    ------
    VolumeError
        If SimpleITK is not installed.
    Stopped
        If ``stopped`` says so; the transforms that were found are kept.
    """
    from napari_harm3.mri.alignment import Alignment, alignment_plan

    steps = {
        role: (onto, registered(case, volumes, (role, onto), work, stopped=stopped))
        for role, onto in alignment_plan(volumes)
    }
    return Alignment(steps=steps)


def registered(
    case: Case,
    volumes: Mapping[str, Volume],
    pair: tuple[str, str],
    work: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> "Registration":
    """Return how one role of a case lies on another, found now or before.

    Raises
    ------
    VolumeError
        If SimpleITK is not installed.
    Stopped
        If ``stopped`` says so.
    """
    from napari_harm3.mri.register import Registration, register

    config = RegisterConfig()
    role, onto = pair
    path = work / "mri" / case.case_id / f"{role}-on-{onto}.json"
    moving, fixed = volumes[role], volumes[onto]
    key = f"{moving.sha256} {fixed.sha256} {recipe_hash(config)}"
    if read_record(path).get("key") == key:
        with suppress(VolumeError):  # a damaged one is made anew
            return Registration.load(path)
    same = PARTS[role][0] == PARTS[onto][0]
    found = register(moving, fixed, config, same_sequence=same, stopped=stopped)
    found.save(path, key=key)
    return found


def warnings_of(path: Path) -> dict[str, str]:
    """Return what is to be said of prepared volumes or annotations, by role."""
    warnings: dict[str, str] = read_record(path.with_suffix(".json")).get(
        "warnings", {}
    )
    return warnings


def prepare_masks(case: Case, config: MriConfig, work: Path) -> Path | None:
    """Put a case's annotations on the grid of its prepared volumes.

    Returns
    -------
    :
        ``mri/<case_id>/<recipe>.masks.npy`` of labels, S T D H W, or None for a case
        without annotations.

    Raises
    ------
    VolumeError
        If an annotation cannot be trusted, or does not lie on its volume.
    """
    roles = _annotated(case)
    if not roles:
        return None
    volumes = _mri_path(case, config, work)
    fresh = _fresh_masks(case, volumes)
    if fresh is not None:
        return fresh
    key = _masks_key(case, volumes)  # before reading: a change meanwhile is seen later
    prepared = load_mri(volumes)
    target = Geometry(shape=config.size, affine=prepared.affine)
    array = np.zeros(prepared.array.shape, dtype=np.uint8)
    warnings = {}
    for role in roles:
        # The volume itself: a contour is placed by its frame of reference.
        native = read_volume(case.volumes[role])
        labels = read_annotation(case.masks[role], native)
        there = placed(native, prepared.transforms.get(role))
        found = resample_labels(labels, there, target)
        array[AXES[role]] = found.labels
        if found.lost:
            warnings[role] = lost_lesions(case.masks[role].name, found.lost)
    path = _masks_path(volumes)
    _save_array(path, array)
    made = MadeMasks(key=key, warnings=warnings)
    write_json(path.with_suffix(".json"), to_plain(made))
    return path


def lost_lesions(name: str, labels: Sequence[int]) -> str:
    """Say which lesions no voxel of the common grid shows."""
    lesions = "1 lesion" if len(labels) == 1 else f"{len(labels)} lesions"
    named = ", ".join(sorted({LABELS.get(label, str(label)) for label in labels}))
    return (
        f"{lesions} of {name} ({named}) cannot be seen on the common grid: too small "
        "for its voxels, or outside of it. Choose a finer or larger grid to keep them."
    )


def load_mri(path: Path) -> PreparedMri:
    """Return prepared volumes, memory-mapped.

    Raises
    ------
    VolumeError
        If they are damaged, or not there.
    """
    made = _made(path, MadeMri)
    if made is None:
        raise VolumeError(
            f"The prepared volumes {path.parent.name}/{path.name} are damaged: run "
            "`harm3 prepare`, and they are made again."
        )
    return PreparedMri(
        array=np.load(path, mmap_mode="r"),
        available=np.array(made.available),
        affine=np.array(made.affine),
        aligned=made.aligned,
        sources=made.sources,
        transforms={role: np.array(rows) for role, rows in made.transforms.items()},
    )


def load_masks(path: Path) -> UInt8[np.ndarray, "S T D H W"]:
    """Return prepared annotations, memory-mapped; an absent one is all zero."""
    masks: UInt8[np.ndarray, "S T D H W"] = np.load(path, mmap_mode="r")
    return masks


def prepared_case(case: Case, inputs: InputConfig, work: Path) -> PreparedCase:
    """Return where a prepared case lies.

    Slides of which no patch can be used are as if the case had none.

    Raises
    ------
    VolumeError
        If its volumes were not prepared.
    FeatureError
        If a slide of the case has no bag, or a bag cannot be read.
    """
    sources: dict[str, str] = {}
    contents: dict[str, str] = {}
    mri = _mri_path(case, inputs.mri, work) if case.volumes else None
    if mri is not None:
        made = _made(mri, MadeMri)
        if made is None:
            raise VolumeError(
                f"The volumes of {case.case_id} are not prepared: run `harm3 prepare`."
            )
        sources |= made.sources
        contents |= made.contents
    paths = bags_of(case, work)
    for slide, path in zip(case.slides, paths, strict=True):
        if path != slide and not path.exists():
            raise FeatureError(
                f"{slide.name} has no features yet: run `harm3 prepare`."
            )
    bags = read_bags(paths)
    for number, (path, bag) in enumerate(zip(paths, bags, strict=True)):
        column = "wsi" if number == 0 else f"wsi{number + 1}"
        fingerprint = bag.attributes.get("slide_fingerprint")
        sources[column] = str(fingerprint or sha256_of(path))
    usable = any(len(bag.features) for bag in bags)
    return PreparedCase(
        case=case if usable else case.with_bare_slides(),
        mri=mri,
        bags=paths if usable else (),
        sources=sources,
        contents=contents,
        masks=None if mri is None else _fresh_masks(case, mri),
    )


def _mri_path(case: Case, config: MriConfig, work: Path) -> Path:
    return work / "mri" / case.case_id / f"{recipe_hash(config)}.npy"


def _masks_path(volumes: Path) -> Path:
    return volumes.with_suffix(".masks.npy")


def _fresh_mri(case: Case, path: Path) -> bool:
    """Return whether prepared volumes are those of the case's files.

    A file of unchanged size and time is taken as unchanged; any other is read.
    """
    made = _made(path, MadeMri)
    if made is None or set(made.sources) != set(case.volumes):
        return False
    for role, file in case.volumes.items():
        if made.stamps.get(role) == file_stamp(file):
            continue
        # A folder of slices that changed in any way is read again.
        if not file.is_file() or sha256_of(file) != made.sources[role]:
            return False
    return True


def _annotated(case: Case) -> list[str]:
    return [role for role in ROLES if role in case.masks and role in case.volumes]


def _masks_key(case: Case, volumes: Path) -> dict[str, Any]:
    """Return what prepared annotations depend on: their files, and the volumes."""
    made = _made(volumes, MadeMri)
    return {
        "reading": READING,
        "stamps": {role: file_stamp(case.masks[role]) for role in _annotated(case)},
        "volumes": {} if made is None else made.sources,
    }


def _fresh_masks(case: Case, volumes: Path) -> Path | None:
    """Return the annotations beside prepared volumes, if they are the case's own."""
    path = _masks_path(volumes)
    made = _made(path, MadeMasks)
    fresh = made is not None and made.key == _masks_key(case, volumes)
    return path if fresh else None


def _masks_to_crop(
    case: Case, config: MriConfig, volumes: Mapping[str, Volume]
) -> dict[str, UInt8[np.ndarray, "X Y Z"]]:
    if config.crop != "annotation":
        return {}
    return {
        role: read_annotation(path, volumes[role])
        for role, path in case.masks.items()
        if role in volumes
    }


def _save_array(path: Path, array: Shaped[np.ndarray, "..."]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)


def file_stamp(file: Path) -> list[Any] | None:
    """Return what changes when a file, or any file of a folder or pair, does."""
    try:
        files = [file]
        if file.is_dir():
            files += sorted(one for one in file.rglob("*") if one.is_file())
        elif file.suffix.lower() in DETACHED:
            files += sorted(file.parent.glob(f"{glob.escape(file.stem)}.*"))
        states = [one.stat() for one in files]
    except OSError:
        return None
    size = sum(state.st_size for state in states if not stat.S_ISDIR(state.st_mode))
    newest = max(state.st_mtime_ns for state in states)
    return [str(file.resolve()), size, newest, len(files)]


def _made(path: Path, kind: type[Made]) -> Made | None:
    """Return what stands beside an array; None unless both are whole and sound."""
    try:
        np.load(path, mmap_mode="r")  # to the last byte that its header tells of
        about = read_record(path.with_suffix(".json"))
        return from_plain(kind, about, source=path.name)
    except (OSError, ValueError, EOFError, ConfigError):
        return None
