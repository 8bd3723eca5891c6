"""What methods learn on a made-up cohort, beside the oracle that knows how it was made.

    harm3 phantom TRAIN --cases 160 --seed 1 --signal strong
    harm3 phantom HELD --cases 200 --seed 0 --signal strong
    OMP_NUM_THREADS=1 python benchmarks/methods.py TRAIN HELD [--methods harm3 harm3-x]

Each method is fitted on all cases of one cohort, at size ``small``, and measured on the
other, over three seeds; a method that can do without an input is measured without it
too. The oracle sums the exact log-likelihood ratios of the sources that are left.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

from napari_harm3.cohort.table import Cohort, read_cohort
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.jobs.cohort import work_folder
from napari_harm3.jobs.training import prepare_trainable
from napari_harm3.models.checkpoint import read_about
from napari_harm3.phantom.truth import Truth, log_odds
from napari_harm3.training.config import RunConfig
from napari_harm3.training.cross_validation import run_origin, trainable
from napari_harm3.training.fold import FoldTask, run_fold
from napari_harm3.training.metrics import auc, null_standard_error

SOURCES = {
    "nothing missing": (0, 1, 2),
    "wsi": (0, 1),
    "t1": (0, 1, 2),
    "t2": (0, 2),
    "pre": (0, 1, 2),
    "post": (1, 2),
    "mri": (2,),
}
"""Which of lesion change, T2 signal and cell density are left without an input.

Without the volumes before, what is left of a lesion is still seen after."""


def oracle(folder: Path) -> dict[str, float]:
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    column = {
        name: np.array([float(row[name]) for row in rows])
        for name in rows[0]
        if name != "case_id"
    }
    truth = Truth(
        outcome=column["pcr"].astype(int),
        label=column["label"].astype(int),
        residual=column["residual"],
        t2_signal=column["t2_signal"],
        density=column["density"],
    )
    odds = log_odds(truth, signal="strong")
    return {
        name: auc(truth.label, odds[list(left)].sum(axis=0))
        for name, left in SOURCES.items()
    }


def prepared(cohort: Cohort, config: RunConfig, run: Path) -> list[PreparedCase]:
    cases, _ = trainable(cohort, config)
    job = prepare_trainable(
        cases,
        [config],
        run=run,
        work=work_folder(cohort.path, None),
        device="cpu",
        workers=1,
    )
    while True:
        try:
            next(job)
        except StopIteration as end:
            return [end.value[case.case_id] for case in cases]


def fitted(
    method: str, seed: int, train: Cohort, held: Cohort, folder: Path
) -> dict[str, object]:
    config = RunConfig.of(method, "small", seed=seed)
    fitted_on = prepared(train, config, folder)
    task = FoldTask(
        fold=0,
        config=config,
        run=folder,
        fitted=tuple(fitted_on),
        held_out=tuple(prepared(held, config, folder)),
        origin=run_origin(train, fitted_on, config),
        device="cpu",
    )
    for _ in run_fold(task, stopped=lambda: False):
        pass
    return read_about(task.folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("held", type=Path)
    parser.add_argument("--methods", nargs="+", default=["harm3", "harm3-x", "abmil"])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    train = read_cohort(arguments.train / "cohort.csv")
    held = read_cohort(arguments.held / "cohort.csv")
    best = oracle(arguments.held)
    positives = sum(case.pcr == 1 for case in held.cases)
    chance = null_standard_error(positives, len(held.cases) - positives)
    print(f"chance: 0.5 within {3 * chance:.3f} (three standard errors)")
    print("oracle:", {name: round(value, 3) for name, value in best.items()})
    for method in arguments.methods:
        seeds = []
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                seeds.append(fitted(method, seed, train, held, Path(folder)))
        aucs = [about["auc"] for about in seeds]
        seconds = [about["cpu_seconds"] for about in seeds]
        print(
            f"{method}: AUC {np.mean(aucs):.3f} {np.round(aucs, 3).tolist()}, "
            f"{np.mean(seconds):.0f} CPU-s a fit"
        )
        for key in ("auc_without_mri", "auc_without_wsi"):
            if key in seeds[0]:
                print(f"  {key}: {np.mean([about[key] for about in seeds]):.3f}")
        for name in seeds[0].get("auc_when_missing", {}):
            value = np.mean([about["auc_when_missing"][name] for about in seeds])
            print(f"  without {name}: {value:.3f}, oracle {best[name]:.3f}")


if __name__ == "__main__":
    main()
