"""How metrics are printed."""

from napari_harm3.cli.show import Result
from napari_harm3.jobs.report import metrics_rows


def metrics_table(metrics: Result) -> str:
    """Return the metrics as a table, the paper's five first."""
    rows = [["", "mean", "sd", "95 % CI", "pooled"], *metrics_rows(metrics)]
    lines = [
        f"{name:<14}{mean:>7}{sd:>8}   {interval:<16}{pooled:>7}"
        for name, mean, sd, interval, pooled in rows
    ]
    lines.append(
        f"{metrics['n']} cases, {metrics['prevalence']:.1%} pCR; always saying "
        f"'no' gives ACC {metrics['majority_acc']:.3f}"
    )
    return "\n".join(lines)
