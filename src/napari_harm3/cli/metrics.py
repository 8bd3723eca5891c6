"""How metrics are printed."""

from napari_harm3.cli.show import Result

NAMES = {
    "auc": "AUC",
    "acc": "ACC",
    "f1": "F1",
    "sen": "SEN",
    "spe": "SPE",
    "f1_macro": "macro-F1",
    "balanced_acc": "balanced ACC",
    "ap": "AP",
    "brier": "Brier",
}


def metrics_table(metrics: Result) -> str:
    """Return the metrics as a table, the paper's five first."""
    lines = [f"{'':<14}{'mean':>7}{'sd':>7}   95 % CI          pooled"]
    for key, name in NAMES.items():
        figures = metrics[key]
        low, high = figures["ci95"] or (None, None)
        lines.append(
            f"{name:<14}{_figure(figures['mean'])}{_figure(figures['sd'])}   "
            f"{_figure(low).strip()} to {_figure(high).strip():<8}"
            f"{_figure(figures['pooled'])}"
        )
    lines.append(
        f"{metrics['n']} cases, {metrics['prevalence']:.1%} pCR; always saying "
        f"'no' gives ACC {metrics['majority_acc']:.3f}"
    )
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{value:>7.3f}"
