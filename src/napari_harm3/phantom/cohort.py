"""A made-up cohort in the file formats of real ones."""

import csv
import io
import json
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np

from napari_harm3.artifacts import write_json, write_text
from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.table import write_cohort
from napari_harm3.config import to_plain
from napari_harm3.mri.volume import write_volume
from napari_harm3.phantom.anatomy import acquire, draw_neck, draw_scan
from napari_harm3.phantom.config import PhantomConfig
from napari_harm3.phantom.histology import draw_slide, write_slide
from napari_harm3.phantom.truth import Truth, draw_truth

NAME = "phantom"
DONE = "case.json"
KINDS = ("t2", "post", "wsi", "t1", "pre")
"""What an incomplete case lacks, in turn: a sequence, a time point or the slide."""


def case_indices(config: PhantomConfig) -> list[int]:
    """Return the numbers of the cases."""
    return list(range(config.cases))


def make_case(out: Path, config: PhantomConfig, index: int) -> str:
    """Write one case's files and return its name; a finished case is kept."""
    case_id = case_name(index)
    folder = out / case_id
    made_of = {"config": to_plain(config), "index": index}
    if _finished(folder, made_of):
        return case_id
    truth, absent = _truth(config), lacking(config).get(index)
    # Every part draws from its own stream, so that parts may be left out.
    neck, site = draw_neck(_stream(config, index, 0), float(truth.t2_signal[index]))
    for number, role in enumerate(ROLES):
        sequence, time = role.split("_")
        if absent in (sequence, time):
            continue
        rng = _stream(config, index, 1 + number)
        residual = float(truth.residual[index]) if time == "post" else 1.0
        scan = draw_scan(rng, sequence, residual, motion=time == "post")
        volume, mask = acquire(neck, scan, rng)
        write_volume(folder / f"{role}.nii.gz", volume.astype(np.int16), scan.affine)
        write_volume(folder / f"mask_{role}.nii.gz", mask, scan.affine)
    if absent != "wsi":
        pixels = draw_slide(_stream(config, index, 9), float(truth.density[index]))
        write_slide(folder / "biopsy.tif", pixels)
    write_json(folder / DONE, {**made_of, "subsite": site})
    return case_id


def finish_cohort(out: Path, config: PhantomConfig) -> Path:
    """Write ``truth.csv``, ``cohort.json`` and, last of all, ``cohort.csv``."""
    truth = _truth(config)
    rows = [_row(out, config, truth, index) for index in case_indices(config)]
    write_text(out / "truth.csv", _truth_csv(truth))
    table = out / "cohort.csv"
    write_cohort(
        table,
        rows,
        name=NAME,
        made_up=True,
        pcr_meaning="made up: drawn with lesion change, T2 signal and cell density",
    )
    return table


def case_name(index: int) -> str:
    """Return the case id of a number."""
    return f"HN-{index + 1:04d}"


def lacking(config: PhantomConfig) -> dict[int, str]:
    """Return which cases lack what."""
    count = int(np.ceil(config.missing * config.cases))
    order = _stream(config, 0, 99).permutation(config.cases)[:count]
    return {int(case): KINDS[n % len(KINDS)] for n, case in enumerate(order)}


@lru_cache(maxsize=4)
def _truth(config: PhantomConfig) -> Truth:
    return draw_truth(
        config.cases,
        seed=config.seed,
        signal=config.signal,
        permute_labels=config.permute_labels,
    )


def _stream(config: PhantomConfig, index: int, part: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, index, part])


def _finished(folder: Path, made_of: dict[str, object]) -> bool:
    try:
        done = json.loads((folder / DONE).read_text())
    except (OSError, ValueError):
        return False
    return all(done.get(key) == value for key, value in made_of.items())


def _row(out: Path, config: PhantomConfig, truth: Truth, index: int) -> dict[str, str]:
    case_id = case_name(index)
    files = [*ROLES, *(f"mask_{role}" for role in ROLES)]
    row = {"case_id": case_id}
    for column in files:
        name = f"{case_id}/{column}.nii.gz"
        row[column] = name if (out / name).exists() else ""
    slide = f"{case_id}/biopsy.tif"
    rng = _stream(config, index, 10)
    begin = date(2021, 1, 4) + timedelta(days=int(rng.integers(0, 900)))
    return row | {
        "wsi": slide if (out / slide).exists() else "",
        "pcr": str(truth.label[index]),
        "subsite": json.loads((out / case_id / DONE).read_text())["subsite"],
        "center": str(rng.choice(["North", "South"])),
        "age": str(rng.integers(38, 82)),
        "sex": str(rng.choice(["f", "m"], p=[0.25, 0.75])),
        "wsi_date": str(begin - timedelta(days=10)),
        "date_pre": str(begin - timedelta(days=4)),
        "treatment_start": str(begin),
        "date_post": str(begin + timedelta(days=int(rng.integers(56, 84)))),
    }


def _truth_csv(truth: Truth) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case_id", "pcr", "label", "residual", "t2_signal", "density"])
    for index in range(len(truth.pcr)):
        latents = (truth.residual[index], truth.t2_signal[index], truth.density[index])
        writer.writerow(
            [
                case_name(index),
                truth.pcr[index],
                truth.label[index],
                *(f"{value:.9g}" for value in latents),
            ]
        )
    return text.getvalue()
