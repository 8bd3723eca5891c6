"""Made-up cases for the tests of training: arrays and files of a few kilobytes."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from model_cases import TINY_PATCH_WIDTH, TINY_VOLUME, tiny_config
from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.cohort.table import Cohort
from napari_harm3.config import to_plain
from napari_harm3.data.config import InputConfig
from napari_harm3.data.dataset import CaseItem
from napari_harm3.data.made import MadeMri, rows_of
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.mri.config import MriConfig
from napari_harm3.training.config import RunConfig, TrainingConfig
from napari_harm3.wsi.features import FORMAT, IDENTITY

PATCHES = 6


def tiny_run(*, folds: int = 2, seed: int = 0, **training: object) -> RunConfig:
    """A recipe whose epoch takes a fraction of a second."""
    fields = {"epochs": 2, "batch": 4, "learning_rate": 1e-3, "save_every": 1}
    return RunConfig(
        size="small",
        folds=folds,
        seed=seed,
        inputs=InputConfig(mri=MriConfig(size=TINY_VOLUME)),
        model=tiny_config(),
        training=TrainingConfig(**{**fields, **training}),
    )


def made_up_case(number: int, **fields: object) -> Case:
    """A complete case; every second one reaches pCR."""
    name = f"C{number:02d}"
    case = Case(
        case_id=name,
        row=number + 2,
        volumes={role: Path(f"{name}_{role}.nii.gz") for role in ROLES},
        slides=(Path(f"{name}.tif"),),
        slide_mpp=(None,),
        pcr=number % 2,
    )
    return replace(case, **fields)


def made_up_item(number: int, *, shift: float = 2.0) -> CaseItem:
    """A case as arrays: with pCR its patches and volumes lie ``shift`` higher."""
    rng = np.random.default_rng(number)
    case = made_up_case(number)
    up = shift * (case.pcr or 0)
    return CaseItem(
        case=case,
        mri=(rng.normal(size=(2, 2, *TINY_VOLUME)) + up).astype(np.float32),
        available=np.ones((2, 2), dtype=bool),
        aligned=True,
        features=(rng.normal(size=(PATCHES, TINY_PATCH_WIDTH)) + up).astype(np.float32),
        centres_um=rng.random((PATCHES, 2)).astype(np.float32),
        affine=np.eye(4),
    )


def content_of(text: str) -> str:
    """What stands for a file's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_bag(path: Path, features: np.ndarray, **attributes: object) -> None:
    """Write a bag of features as the pipeline's own."""
    said = dict.fromkeys(IDENTITY, "made up") | {
        "format": FORMAT,
        "slide_fingerprint": f"slide of {path.stem}",
        "mpp_x": 0.5,
        "mpp_y": 0.25,
        "patch_level0_px": [224, 448],
    }
    with h5py.File(path, "w") as file:
        count = len(features)
        file["features"] = features.astype(np.float32)
        file["coords"] = np.stack([np.arange(count), np.zeros(count)], 1).astype(int)
        file["status"] = np.zeros(count, dtype=np.uint8)
        file.attrs.update(said | attributes)


def prepared_on_disk(folder: Path, number: int, **fields: object) -> PreparedCase:
    """A case's prepared files, written into a folder."""
    item = made_up_item(number)
    case = replace(item.case, **fields)
    volumes, bag = folder / f"{case.case_id}.npy", folder / f"{case.case_id}.h5"
    np.save(volumes, item.mri)
    sources = {role: content_of(f"{case.case_id} {role}") for role in ROLES}
    made = MadeMri(
        recipe={},
        sources=sources,
        contents={},
        stamps={},
        affine=rows_of(np.eye(4)),
        available=rows_of(item.available),
        aligned=True,
        transforms={},
        registrations={},
        warnings={},
    )
    volumes.with_suffix(".json").write_text(json.dumps(to_plain(made)))
    write_bag(bag, item.features)
    return PreparedCase(
        case=case,
        mri=volumes,
        bags=(bag,),
        sources=sources | {"wsi": content_of(f"{case.case_id} slide")},
    )


def cohort_of(prepared: list[PreparedCase], *extra: Case, made_up: bool = True):
    """The cohort that prepared cases, and others, belong to."""
    cases = (*(one.case for one in prepared), *extra)
    return Cohort(path=Path("cohort.csv"), cases=cases, name="tiny", made_up=made_up)
