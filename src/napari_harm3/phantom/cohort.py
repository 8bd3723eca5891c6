"""A made-up cohort in the file formats of real ones."""

import math
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np

from napari_harm3.artifacts import read_record, write_csv
from napari_harm3.cohort.case import PARTS
from napari_harm3.cohort.table import write_cohort
from napari_harm3.config import to_plain
from napari_harm3.mri.volume import write_volume
from napari_harm3.phantom.anatomy import acquire, draw_neck, draw_scan
from napari_harm3.phantom.case_folder import (
    DONE,
    FILES,
    begin,
    case_name,
    finish,
    finished,
    stream,
)
from napari_harm3.phantom.config import PhantomConfig
from napari_harm3.phantom.histology import draw_slide, write_slide
from napari_harm3.phantom.truth import Truth, draw_truth

NAME, PREFIX = "phantom", "HN"
KINDS = ("t2", "post", "wsi", "t1", "pre")
"""What an incomplete case lacks, in turn: a sequence, a time point or the slide."""

TRUTH = ("case_id", "pcr", "label", "residual", "t2_signal", "density")
"""Columns of ``truth.csv``; ``pcr`` is what the files show, ``label`` the table's."""


def make_case(out: Path, config: PhantomConfig, index: int) -> str:
    """Write one case's files and return its name; a finished case is kept."""
    case_id = case_name(PREFIX, index)
    folder = out / case_id
    made_of = {"config": to_plain(config), "index": index}
    if finished(folder, made_of):
        return case_id
    begin(folder, made_of)
    files: list[str] = []
    truth, absent = _truth(config), lacking(config).get(index)
    # Every part draws from its own stream, so that parts may be left out.
    neck, site = draw_neck(stream(config.seed, index, 0), float(truth.t2_signal[index]))
    for number, (role, (sequence, time)) in enumerate(PARTS.items()):
        if absent in (sequence, time):
            continue
        rng = stream(config.seed, index, 1 + number)
        scan = draw_scan(rng, sequence, motion=time == "post")
        residual = float(truth.residual[index]) if time == "post" else 1.0
        volume, mask = acquire(neck, scan, rng, residual=residual)
        names = f"{role}.nii.gz", f"mask_{role}.nii.gz"
        for name, array in zip(names, (volume.astype(np.int16), mask), strict=True):
            write_volume(folder / name, array, scan.affine)
        files += names
    if absent != "wsi":
        pixels = draw_slide(stream(config.seed, index, 9), float(truth.density[index]))
        write_slide(folder / "biopsy.tif", pixels)
        files.append("biopsy.tif")
    finish(folder, {**made_of, "subsite": site}, files)
    return case_id


def finish_cohort(out: Path, config: PhantomConfig) -> Path:
    """Write ``truth.csv``, ``cohort.json`` and, last of all, ``cohort.csv``."""
    truth = _truth(config)
    cases = range(config.cases)
    rows = [_row(out, config, truth, index) for index in cases]
    write_csv(out / "truth.csv", [_truth_row(truth, index) for index in cases], TRUTH)
    table = out / "cohort.csv"
    write_cohort(
        table,
        rows,
        name=NAME,
        made_up=True,
        pcr_meaning="made up: drawn with lesion change, T2 signal and cell density",
    )
    return table


def lacking(config: PhantomConfig) -> dict[int, str]:
    """Return which cases lack what."""
    # 0.07 of 100 is a hair over 7 in floating point.
    count = math.ceil(round(config.missing * config.cases, 9))
    order = stream(config.seed, 0, 99).permutation(config.cases)[:count]
    return {int(case): KINDS[n % len(KINDS)] for n, case in enumerate(order)}


@lru_cache(maxsize=4)
def _truth(config: PhantomConfig) -> Truth:
    return draw_truth(
        config.cases,
        seed=config.seed,
        signal=config.signal,
        permute_labels=config.permute_labels,
    )


def _row(out: Path, config: PhantomConfig, truth: Truth, index: int) -> dict[str, str]:
    case_id = case_name(PREFIX, index)
    about = read_record(out / case_id / DONE)
    names = {column: f"{column}.nii.gz" for column in FILES} | {"wsi": "biopsy.tif"}
    rng = stream(config.seed, index, 10)
    begin = date(2021, 1, 4) + timedelta(days=int(rng.integers(0, 900)))
    return {
        "case_id": case_id,
        **{
            column: f"{case_id}/{name}" if name in about["files"] else ""
            for column, name in names.items()
        },
        "pcr": str(truth.label[index]),
        "subsite": about["subsite"],
        "center": str(rng.choice(["North", "South"])),
        "age": str(rng.integers(38, 82)),
        "sex": str(rng.choice(["f", "m"], p=[0.25, 0.75])),
        "wsi_date": str(begin - timedelta(days=10)),
        "date_pre": str(begin - timedelta(days=4)),
        "treatment_start": str(begin),
        "date_post": str(begin + timedelta(days=int(rng.integers(56, 84)))),
    }


def _truth_row(truth: Truth, index: int) -> dict[str, object]:
    latents = {
        name: f"{getattr(truth, name)[index]:.9g}"
        for name in ("residual", "t2_signal", "density")
    }
    return {
        "case_id": case_name(PREFIX, index),
        "pcr": truth.outcome[index],
        "label": truth.label[index],
        **latents,
    }
