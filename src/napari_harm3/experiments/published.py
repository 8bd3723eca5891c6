"""Tables 1 and 2 as the paper prints them, and what their own figures imply.

The printed figures do not agree with each other, and no code that made them is known.
So they stand beside ours as *reported*: never a target, never a bound of a test.
"""

from dataclasses import dataclass
from math import sqrt

from napari_harm3.report.comparison_rows import Reported

POSITIVES, CASES = 122, 407
"""With pCR, and in all (section 3.1)."""

PREVALENCE = POSITIVES / CASES
MAJORITY_ACC = 1 - PREVALENCE
"""The accuracy of always saying "no pCR"."""

FOLD_SIZES = (81, 82)
"""Cases of one held-out fold: 407 = 3 x 81 + 2 x 82."""

MIXING = 0.013
"""By how much folds of unequal prevalence can part ACC from SEN and SPE."""

EQUAL = 0.003
"""An AUC this near to the balanced accuracy is taken for it."""

WELL_BELOW = 0.01
"""Further below it than rounding and averaging over folds could bring it."""


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One printed row. Figures that are not printed are what the printed ones imply."""

    table: int
    title: str
    method: str
    """Our name of it: of the registry, or of an ablation."""

    auc: float
    acc: float
    f1: float
    sen: float
    spe: float

    @property
    def implied_acc(self) -> float:
        """The only accuracy that decisions with this SEN and SPE can have."""
        return PREVALENCE * self.sen + (1 - PREVALENCE) * self.spe

    @property
    def implied_f1(self) -> float:
        """The F1 of pCR that SEN and SPE imply."""
        return _f1(self.sen, self.spe, PREVALENCE)

    @property
    def implied_f1_macro(self) -> float:
        """The mean of both classes' F1 that SEN and SPE imply."""
        return (self.implied_f1 + _f1(self.spe, self.sen, 1 - PREVALENCE)) / 2

    @property
    def balanced_acc(self) -> float:
        """The mean of SEN and SPE: the "AUC" of hard labels."""
        return (self.sen + self.spe) / 2

    @property
    def auc_above_balanced(self) -> float:
        """What the printed AUC adds to that."""
        return self.auc - self.balanced_acc

    @property
    def acc_outside(self) -> bool:
        """Whether ACC lies outside [SEN, SPE], where it must lie."""
        low, high = sorted((self.sen, self.spe))
        return not low <= self.acc <= high

    @property
    def one_fold(self) -> tuple[int, int] | None:
        """The fraction of a single fold that prints as this ACC, if there is one."""
        for size in FOLD_SIZES:
            right = round(self.acc * size)
            if f"{right / size:.4f}" == f"{self.acc:.4f}":
                return right, size
        return None

    @property
    def reported(self) -> Reported:
        """The row as a comparison prints it beside ours, with its caveats."""
        return Reported(
            table=f"Table {self.table}, {self.title}",
            auc=self.auc,
            acc=self.acc,
            f1=self.f1,
            sen=self.sen,
            spe=self.spe,
            caveats=tuple(caveats(self)),
        )


TABLE_1 = (
    PublishedRow(
        table=1, title="3D-CNN", method="c3d",
        auc=0.5881, acc=0.6854, f1=0.5357, sen=0.5212, spe=0.6140,
    ),
    PublishedRow(
        table=1, title="ResNet", method="resnet3d",
        auc=0.5218, acc=0.6914, f1=0.5879, sen=0.5500, spe=0.6705,
    ),
    PublishedRow(
        table=1, title="3D-RPNet", method="rpnet3d",
        auc=0.7059, acc=0.7365, f1=0.6578, sen=0.6337, spe=0.7183,
    ),
    PublishedRow(
        table=1, title="CLAM", method="clam-sb",
        auc=0.6202, acc=0.7020, f1=0.6121, sen=0.6278, spe=0.6601,
    ),
    PublishedRow(
        table=1, title="TransMIL", method="transmil",
        auc=0.6132, acc=0.6914, f1=0.5745, sen=0.6020, spe=0.6191,
    ),
    PublishedRow(
        table=1, title="HMCAT", method="hmcat",
        auc=0.6968, acc=0.7479, f1=0.6741, sen=0.6414, spe=0.7350,
    ),
    PublishedRow(
        table=1, title="M2Fusion", method="m2fusion",
        auc=0.6905, acc=0.7256, f1=0.6812, sen=0.6455, spe=0.7419,
    ),
    PublishedRow(
        table=1, title="Ours", method="harm3",
        auc=0.7581, acc=0.8272, f1=0.7541, sen=0.6578, spe=0.8167,
    ),
)  # fmt: skip
TABLE_2 = (
    PublishedRow(
        table=2, title="no LD-VAE", method="harm3-no-ld-vae",
        auc=0.6258, acc=0.6829, f1=0.6586, sen=0.5945, spe=0.7367,
    ),
    PublishedRow(
        table=2, title="no Attention-1", method="harm3-no-attention-1",
        auc=0.6917, acc=0.7784, f1=0.6888, sen=0.6210, spe=0.7602,
    ),
    PublishedRow(
        table=2, title="no Attention-2", method="harm3-no-attention-2",
        auc=0.7195, acc=0.7931, f1=0.7206, sen=0.6563, spe=0.7862,
    ),
    PublishedRow(
        table=2, title="LD-VAE only", method="harm3-ld-vae-only",
        auc=0.6810, acc=0.7502, f1=0.6812, sen=0.6027, spe=0.7586,
    ),
    PublishedRow(
        table=2, title="full", method="harm3",
        auc=0.7581, acc=0.8272, f1=0.7649, sen=0.6978, spe=0.8167,
    ),
)  # fmt: skip


def published(method: str, *, table: int = 1) -> PublishedRow | None:
    """Return the printed row of a method, or None where the paper has none."""
    rows = {1: TABLE_1, 2: TABLE_2}[table]
    return next((row for row in rows if row.method == method), None)


def caveats(row: PublishedRow) -> list[str]:
    """Return why a printed row is *reported* and no target, from its own figures."""
    found = [
        _about_acc(row),
        _about_f1(row),
        _about_auc(row),
        f"ACC {row.acc:.4f} is below {MAJORITY_ACC:.4f}, that of always saying “no”."
        if row.acc < MAJORITY_ACC
        else "",
        f"ACC {row.acc:.4f} is {row.one_fold[0]}/{row.one_fold[1]}: it may be one "
        "fold's, not the mean of five."
        if row.one_fold
        else "",
        _about_twins(row),
    ]
    return [sentence for sentence in found if sentence]


def general_caveats() -> list[str]:
    """Return what holds for every printed row."""
    ours = TABLE_1[-1]
    one = hanley_mcneil(ours.auc, POSITIVES, CASES - POSITIVES)
    fold = hanley_mcneil(ours.auc, POSITIVES // 5, (CASES - POSITIVES) // 5)
    everyone = (*TABLE_1, *TABLE_2)
    outside = sum(row.acc_outside for row in everyone)
    equal = sum(abs(row.auc_above_balanced) <= EQUAL for row in everyone)
    cohort = (
        f"Reported figures are of another cohort ({CASES} patients of one hospital, "
        f"{POSITIVES} with pCR) and of code that is not public: they are shown beside "
        "ours, and nothing is tuned or tested to meet them."
    )
    accuracy = (
        f"In {outside} of {len(everyone)} printed rows ACC lies outside [SEN, SPE], "
        "which no set of decisions allows."
    )
    hard = (
        f"In {equal} of {len(everyone)} the AUC is the balanced accuracy within "
        f"{EQUAL}, as of hard labels; ours comes from scores only."
    )
    error = (
        f"At this size the printed AUC {ours.auc:.4f} has a standard error of "
        f"{one:.3f} ({fold:.3f} in one fold); the paper has no interval and no test."
    )
    return [cohort, accuracy, hard, error]


def hanley_mcneil(auc: float, positives: int, negatives: int) -> float:
    """Return the standard error of an AUC, from it and the cohort's size alone."""
    both_yes = auc / (2 - auc)  # two with pCR above one without
    both_no = 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (positives - 1) * (both_yes - auc**2)
        + (negatives - 1) * (both_no - auc**2)
    )
    return sqrt(variance / (positives * negatives))


def _f1(recall: float, other_recall: float, share: float) -> float:
    """Return the F1 of a class from both recalls and its share of the cases."""
    right = share * recall
    false_alarms = (1 - share) * (1 - other_recall)
    return 2 * right / (right + share + false_alarms)


def _about_acc(row: PublishedRow) -> str:
    gap = row.acc - row.implied_acc
    implied = f"SEN and SPE imply {row.implied_acc:.4f} at {PREVALENCE:.1%} pCR"
    if row.acc_outside:
        low, high = sorted((row.sen, row.spe))
        return (
            f"ACC {row.acc:.4f} lies outside [{low:.4f}, {high:.4f}], SEN and SPE, "
            f"where the accuracy of the same decisions must lie; {implied}."
        )
    if abs(gap) > MIXING:
        return (
            f"ACC {row.acc:.4f} is {gap:+.4f} off; {implied}, and folds of unequal "
            f"prevalence explain {MIXING} at most."
        )
    return ""


def _about_f1(row: PublishedRow) -> str:
    if abs(row.f1 - row.implied_f1_macro) >= abs(row.f1 - row.implied_f1):
        return ""
    return (
        f"F1 {row.f1:.4f} is nearer to the macro-F1 that SEN and SPE imply "
        f"({row.implied_f1_macro:.4f}) than to the F1 of pCR ({row.implied_f1:.4f}): "
        "compare it with our macro-F1."
    )


def _about_auc(row: PublishedRow) -> str:
    gap = row.auc_above_balanced
    if abs(gap) <= EQUAL:
        return (
            f"AUC {row.auc:.4f} is the balanced accuracy ({row.balanced_acc:.4f}) "
            "within rounding: it looks computed from hard labels."
        )
    if gap < -WELL_BELOW:
        return (
            f"AUC {row.auc:.4f} lies below the balanced accuracy "
            f"({row.balanced_acc:.4f}), which a concave ROC curve of scores forbids."
        )
    return ""


def _about_twins(row: PublishedRow) -> str:
    twin = published(row.method, table=3 - row.table)
    if twin is None or (twin.f1, twin.sen) == (row.f1, row.sen):
        return ""
    return (
        f"Table {twin.table} prints F1 {twin.f1:.4f} and SEN {twin.sen:.4f} for the "
        f"same model, this one {row.f1:.4f} and {row.sen:.4f}."
    )
