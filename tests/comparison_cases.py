"""Made-up methods on one made-up cohort, for the tests of comparisons."""

import numpy as np

from napari_harm3.report.comparison_rows import Comparison, Cost, MethodRow, Reported
from napari_harm3.training.held_out import HeldOut
from napari_harm3.training.metrics import cross_validated
from napari_harm3.training.statistics import against
from napari_harm3.training.subgroups import subgroups

CASES, FOLDS = 60, 3


def made_up_run(strength: float, *, seed: int = 0, cases: int = CASES) -> HeldOut:
    """Held-out scores whose classes lie ``strength`` apart."""
    rng = np.random.default_rng(seed)
    label = np.random.default_rng(7).permutation(np.arange(cases) % 3 == 0).astype(int)
    order = np.argsort(np.arange(cases) % FOLDS, kind="stable")
    score = 1 / (1 + np.exp(-rng.normal(strength * (label - 0.5), 1.0)))
    fold = (np.arange(cases) % FOLDS)[order]
    return HeldOut(
        case_id=tuple(f"C{number:03d}" for number in order),
        fold=fold,
        label=label[order],
        score=score[order],
        threshold=np.full(cases, 0.4),
    )


def made_up_comparison(methods: int = 3, *, made_up: bool = False) -> Comparison:
    """A comparison; the first method is the reference and has a reported row."""
    names = ["harm3", *(f"rival-{number}" for number in range(1, methods))]
    runs = {
        name: made_up_run(2.0 - 1.5 * place / methods, seed=place)
        for place, name in enumerate(names)
    }
    tests = against(
        runs["harm3"].folds,
        {name: run.folds for name, run in runs.items() if name != "harm3"},
    )
    sexes = dict(zip(runs["harm3"].case_id, ["f", "m"] * CASES, strict=False))
    kinds = [("mri", "wsi"), ("mri",), ("wsi",)]
    rows = tuple(
        MethodRow(
            name=name,
            title=f"Method <{place}>" if place else "HARM3",
            modalities=kinds[place % 3],
            metrics=cross_validated(runs[name].folds, draws=40),
            folds=runs[name].folds,
            reported=None if place else REPORTED,
            against=tests.get(name),
            cost=Cost(parameters=33_160_000) if place == 0 else Cost(),
            subgroups=()
            if place
            else tuple(subgroups(runs[name], sexes, column="sex", draws=40)),
        )
        for place, name in enumerate(names)
    )
    return Comparison(
        name="table1",
        title="Every method",
        rows=rows,
        cohort="a cohort of numbers",
        made_up=made_up,
        caveats=("Reported figures are of another cohort.",),
    )


REPORTED = Reported(
    table="Table 1, Ours",
    auc=0.7581,
    acc=0.8272,
    f1=0.7541,
    sen=0.6578,
    spe=0.8167,
    caveats=("ACC lies outside SEN and SPE.",),
)
