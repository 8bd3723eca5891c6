"""What the software can say of a run by itself, sentence by sentence.

Everything comes from the run folder. What it cannot know, such as who was eligible or
who paid, is not guessed: that stays with the authors.
"""

import csv
import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_harm3.errors import ModelError
from napari_harm3.report.tables import number, with_interval
from napari_harm3.training.calibration import calibration, confusion
from napari_harm3.training.held_out import HeldOut, read_held_out

LABEL = "pCR: ypT0N0, no viable tumour in primary and nodes at surgery; positive class"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run folder, read."""

    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    environment: Mapping[str, str]
    about: Mapping[str, Any]
    """Of the first fold."""

    fold_of: Mapping[str, int]
    held_out: HeldOut

    @property
    def folds(self) -> int:
        """How many there are in a repeat; a column of the table may decide it."""
        return len(self.held_out.folds) // int(self.config["repeats"])


def read_run(run: Path) -> RunRecord:
    """Return what a finished run says of itself.

    Raises
    ------
    ModelError
        If the run was not trained to its end, or a file is damaged.
    """
    held_out = read_held_out(run)
    try:
        folders = sorted(run.glob("fold-*/best.json"))
        with (run / "folds.csv").open(newline="", encoding="utf-8") as stream:
            fold_of = {
                row["case_id"]: int(row["fold"]) for row in csv.DictReader(stream)
            }
        return RunRecord(
            config=tomllib.loads((run / "run.toml").read_text(encoding="utf-8")),
            metrics=_json(run / "metrics.json"),
            environment=_json(run / "environment.json"),
            about=_json(folders[0]) if folders else {},
            fold_of=fold_of,
            held_out=held_out,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{run.name} cannot be read ({error}): train it to its end first."
        ) from error


def facts(record: RunRecord) -> dict[str, str]:
    """Return what is known, by the name that `checklist_items` gives it."""
    return {
        **_data(record),
        **_model(record),
        **_evaluation(record),
        **_results(record),
    }


def _data(record: RunRecord) -> dict[str, str]:
    inputs = record.config["inputs"]
    training = record.config["training"]
    mri, patches = inputs["mri"], inputs["patches"]
    made_up = " (made-up patients, phantom)" if record.about.get("made_up") else ""
    registered = "not" if mri["register"] == "none" else f"{mri['register']}ly"
    left_out = record.metrics.get("left_out", {})
    return {
        "cohort": f"{record.about.get('trained_on', 'one cohort')}{made_up}.",
        "left_out": f"{len(left_out)} cases were left out by the software"
        + (f": {_counted(left_out)}." if left_out else "."),
        "preprocessing": (
            f"Volumes: {registered} registered, intensities clipped at percentiles "
            f"{mri['clip']}, a grid of {mri['size']} voxels of {mri['spacing_mm']} mm "
            f"(z, y, x), crop '{mri['crop']}'. Slides: patches of {patches['patch']} "
            f"pixels at {patches['mpp']} microns. Full settings: run.toml."
        ),
        "subsets": (
            "Contrast-enhanced T1 and T2 before and after therapy, and the biopsy "
            "slide before therapy; no other specimen is accepted."
        ),
        "missing": (
            f"{len(left_out)} cases were left out, each with its reason in "
            "metrics.json; missing inputs are masked, never imputed. Chance of hiding "
            f"an input in training: {training.get('modality_dropout', 0):g}."
        ),
        "images": (
            "Inputs are T1 with contrast and T2, before and after therapy, and the "
            "biopsy slide. Scanner, sequence parameters and staining: author."
        ),
        "label": f"{LABEL}. How pathology was read: author.",
        "splits": (
            f"{record.folds} folds by patient, {record.config['repeats']} repeat(s), "
            f"drawn with seed {record.config['seed']} unless the cohort table fixes "
            "them. "
            + (
                f"{training['inner_fraction']:.1%} of each training part is the inner "
                "part that choices are made on."
                if _inner(record)
                else "No inner part: nothing is chosen."
            )
        ),
        "disjoint": (
            "Patients: no patient is in the training and the held-out part of a fold. "
            "All parts come from one cohort."
        ),
        "size": _size(record),
    }


def _model(record: RunRecord) -> dict[str, str]:
    config, training = record.config, record.config["training"]
    inner = _inner(record)
    weights = "n0/n1 of the training fold" if training["class_weights"] else "none"
    versions = ", ".join(f"{name} {at}" for name, at in record.environment.items())
    encoder = record.about.get("features", {}).get("encoder", "given features")
    untrained = ", untrained" if record.about.get("untrained_encoder") else ""
    return {
        "method": f"Deep learning; method '{config['method']}'. Title: author.",
        "objective": "Development with internal validation by cross-validation.",
        "model": (
            f"Method '{config['method']}', size '{config['size']}'; every field is in "
            "run.toml, weights and their SHA-256 in fold-K/best.*."
        ),
        "versions": f"{versions}.",
        "initialised": (
            f"Drawn from seed {config['seed']} and the fold's number. Slide encoder: "
            f"{encoder}{untrained}."
        ),
        "training": (
            f"At most {training['epochs']} epochs, batch {training['batch']}, learning "
            f"rate {training['learning_rate']:g}, L2 {training['weight_decay']:g}, L1 "
            f"{training['l1']:g}; class weights: {weights}. No setting was tuned on "
            "held-out cases by the software."
        ),
        "selection": (
            f"Best AUC on the inner part, patience {training['patience']} epochs."
            if inner
            else "The weights of the last epoch; nothing is chosen."
        ),
        "ensemble": (
            "A new case gets the mean logit of all fold models; a case of the cohort "
            "only that of the fold that held it out."
        ),
        "imbalance": f"Weight of pCR cases in the loss: {weights}.",
        "output": (
            "Probability of pCR; decisions at 0.5"
            + (
                ", and apart at each fold's Youden threshold, from its inner part."
                if inner
                else "."
            )
        ),
        "recalibration": (
            "Temperature, fitted on the inner part of each fold; "
            f"{number(record.about.get('temperature'))} in the first."
            if inner
            else "None."
        ),
        "predictions": "`harm3 predict RUN COHORT`, or the panel; same code.",
        "software": "napari-harm3, BSD-3-Clause. Model and data: author.",
        "users": (
            "A cohort table, DICOM or NIfTI volumes, one slide; faults are said by "
            "row and column. Expertise needed: author."
        ),
        "missing_use": (
            "Unreadable or absent inputs are refused or named with the prediction, "
            "never filled in silently."
        ),
    }


def _evaluation(record: RunRecord) -> dict[str, str]:
    return {
        "measures": (
            "AUC and AP from scores; ACC beside the majority's, pCR-F1 and macro-F1, "
            "SEN, SPE, balanced ACC; Brier, ECE, calibration slope and intercept; "
            "decision curve."
        ),
        "uncertainty": (
            "95 % intervals by 2,000 bootstraps within fold and class. Between "
            "methods: DeLong by fold with Holm's correction, McNemar, corrected "
            "resampled t-test."
        ),
        "robustness": _without(record),
        "explanation": (
            "Grad-CAM of the volumes and slide attention, with agreement to voxel "
            "annotations against chance (`harm3 explain`)."
        ),
        "internal": f"Held-out cases of {record.folds}-fold cross-validation.",
        "external": "None in this run. `harm3 evaluate MODEL COHORT` does it.",
        "clusters": (
            "Groups by a column of the cohort table (such as centre) are in the "
            "comparison, where asked for."
        ),
        "limits": (
            "One cohort, no external validation in this run. "
            f"{_size(record)} Further limits: author."
        ),
    }


def _results(record: RunRecord) -> dict[str, str]:
    metrics, folds = record.metrics, record.held_out.folds
    found, decided = calibration(folds), confusion(folds)
    left_out = metrics.get("left_out", {})
    wrong = sum(int(((fold.score >= 0.5) != (fold.label == 1)).sum()) for fold in folds)
    fold_sizes = ", ".join(
        f"{len(fold.label)} ({int(fold.label.sum())})" for fold in folds
    )
    return {
        "flow": (
            f"{metrics['n'] + len(left_out)} cases in the table, {len(left_out)} left "
            f"out, {metrics['n']} measured, {metrics['prevalence']:.1%} with pCR. "
            "Earlier exclusions: author."
        ),
        "by_fold": (
            f"Held-out cases (with pCR) by fold: {fold_sizes}. Clinical "
            "characteristics: author."
        ),
        "performance": (
            f"AUC {_figure(metrics, 'auc')}, ACC {_figure(metrics, 'acc')} "
            f"(majority {metrics['majority_acc']:.3f}), Brier {found.brier:.3f}, ECE "
            f"{found.ece:.3f}, calibration slope {number(found.slope)}, intercept "
            f"{number(found.intercept)}."
        ),
        "diagnostic": (
            f"SEN {_figure(metrics, 'sen')}, SPE {_figure(metrics, 'spe')} at 0.5; at "
            f"inner thresholds {number(decided.sen)} and {number(decided.spe)} "
            f"(TP {decided.tp}, FN {decided.fn}, FP {decided.fp}, TN {decided.tn})."
        ),
        "failures": (
            f"{wrong} held-out decisions at 0.5 are wrong; predictions.csv names the "
            "cases. Why they are: author."
        ),
    }


def _inner(record: RunRecord) -> bool:
    return record.about.get("inner_cases", 0) > 0


def _size(record: RunRecord) -> str:
    cases = len(set(record.held_out.case_id))
    return (
        f"{cases} labelled cases, {record.metrics['prevalence']:.1%} with pCR. How "
        "that number was arrived at: author."
    )


def _without(record: RunRecord) -> str:
    names = {"auc_without_mri": "without MRI", "auc_without_wsi": "without slide"}
    said = [
        f"{title} {number(record.about[key])}"
        for key, title in names.items()
        if key in record.about
    ]
    return f"AUC of the first fold {', '.join(said)}." if said else ""


def _figure(metrics: Mapping[str, Any], key: str) -> str:
    return with_interval(metrics[key]["mean"], *metrics[key]["ci95"])


def _counted(left_out: Mapping[str, str]) -> str:
    counts = Counter(left_out.values())
    return ", ".join(f"{count} {why}" for why, count in sorted(counts.items()))


def _json(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read
