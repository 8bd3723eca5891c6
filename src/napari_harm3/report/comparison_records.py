"""A comparison for programs: flat records at full precision."""

from collections.abc import Mapping

from napari_harm3.report.comparison_rows import Comparison, MethodRow
from napari_harm3.report.comparison_tables import ORDER
from napari_harm3.training.calibration import calibration

Record = dict[str, object]


def records(comparison: Comparison) -> list[Record]:
    """Return one flat record per method, as the CSV has them: full precision."""
    about: Record = {"cohort": comparison.cohort, "made_up": comparison.made_up}
    return [_record(row) | about for row in comparison.rows]


def subgroup_records(comparison: Comparison) -> list[Record]:
    """Return one flat record per method and group."""
    return [
        {
            "method": row.name,
            "column": group.column,
            "value": group.value,
            "n": group.n,
            "positives": group.positives,
            "prevalence": group.prevalence,
            "auc": group.auc,
            "auc_low": group.ci95[0],
            "auc_high": group.ci95[1],
            "acc": group.acc,
            "sen": group.sen,
            "spe": group.spe,
            "note": group.note,
        }
        for row in comparison.rows
        for group in row.subgroups
    ]


def _record(row: MethodRow) -> Record:
    record: Record = {
        "method": row.name,
        "title": row.title,
        "modalities": "+".join(row.modalities),
        "n": row.metrics["n"],
        "prevalence": row.metrics["prevalence"],
        "majority_acc": row.metrics["majority_acc"],
    }
    for key in ORDER:
        entry = row.metrics[key]
        record |= {
            f"{key}_mean": entry["mean"],
            f"{key}_sd": entry["sd"],
            f"{key}_low": entry["ci95"][0],
            f"{key}_high": entry["ci95"][1],
            f"{key}_pooled": entry["pooled"],
        }
    for name in ("auc", "acc", "f1", "sen", "spe"):
        said = None if row.reported is None else getattr(row.reported, name)
        record[f"paper_{name}"] = said
    return record | _tests(row) | _calibrated(row) | dict(vars(row.cost))


def _tests(row: MethodRow) -> Record:
    found = row.against
    return {
        "auc_difference": None if found is None else found.auc.difference,
        "auc_difference_low": None if found is None else found.auc.ci95[0],
        "auc_difference_high": None if found is None else found.auc.ci95[1],
        "delong_p": None if found is None else found.auc.p,
        "holm_p": None if found is None else found.p_holm,
        "corrected_t_p": None if found is None else found.corrected_t.p,
        "mcnemar_sen_p": None if found is None else found.sen_p,
        "mcnemar_spe_p": None if found is None else found.spe_p,
    }


def _calibrated(row: MethodRow) -> Record:
    names = ("ece", "slope", "intercept", "in_the_large")
    found: Mapping[str, object] = vars(calibration(row.folds)) if row.folds else {}
    return {name: found.get(name) for name in names}
