"""A comparison is a table, a page and pictures; nothing in it is made up by it."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from comparison_cases import REPORTED, made_up_comparison
from napari_harm3.errors import TrainingError
from napari_harm3.notices import MADE_UP, RESEARCH_ONLY
from napari_harm3.report.comparison import as_markdown, write_comparison
from napari_harm3.report.comparison_figures import overview_figure
from napari_harm3.report.comparison_forest import forest_figure
from napari_harm3.report.comparison_rows import Comparison, Cost, by_auc
from napari_harm3.report.comparison_sheets import roc_sheet
from napari_harm3.report.comparison_tables import metric_cells, short
from napari_harm3.report.tables import p_text

PICTURES = {"forest", "curves", "roc", "pr", "decision", "calibration", "confusion"}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return made_up_comparison()


@pytest.fixture(scope="module")
def written(comparison: Comparison, tmp_path_factory) -> dict[str, Path]:
    return write_comparison(tmp_path_factory.mktemp("comparison"), comparison)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_kind_of_file_is_written_by_the_comparison_s_name(written):
    assert set(written) == {"csv", "md", "html", "subgroups"} | PICTURES
    assert written["csv"].name == "table1.csv"
    for name in PICTURES:
        assert written[name].read_bytes().startswith(b"\x89PNG")


def test_the_csv_has_the_metrics_unrounded_and_the_paper_s_beside(comparison, written):
    first, second, _ = rows_of(written["csv"])

    metrics = comparison.rows[0].metrics
    assert float(first["auc_mean"]) == metrics["auc"]["mean"]
    assert float(first["f1_macro_low"]) == metrics["f1_macro"]["ci95"][0]
    assert float(first["majority_acc"]) == metrics["majority_acc"]
    assert float(first["paper_sen"]) == REPORTED.sen
    assert first["delong_p"] == ""
    assert second["paper_sen"] == ""
    assert float(second["holm_p"]) == comparison.rows[1].against.p_holm
    assert float(first["parameters"]) == 33_160_000


def test_groups_have_a_table_of_their_own(written):
    groups = rows_of(written["subgroups"])

    assert [row["value"] for row in groups] == ["f", "m"]
    assert all(float(row["auc_low"]) <= float(row["auc"]) for row in groups)


def test_a_page_needs_no_network_and_runs_no_title(written):
    page = written["html"].read_text()

    assert not re.search(r"(src|href)=\"?http", page)
    assert page.count("data:image/png;base64,") == len(PICTURES)
    assert "Method &lt;1&gt;" in page
    assert "Method <1>" not in page


def test_a_page_says_what_a_reader_must_know(comparison, written):
    page = written["html"].read_text()

    assert RESEARCH_ONLY in page
    assert "paper 0.7581" in page
    assert "Reported figures are of another cohort." in page
    assert "ACC lies outside SEN and SPE." in page
    assert "Always saying “no pCR”" in page
    assert f"{comparison.rows[0].metrics['majority_acc']:.3f}" in page
    assert "33.2 M" in page


@pytest.mark.parametrize("made_up", [True, False])
def test_only_a_made_up_cohort_is_called_one_in_red(made_up, comparison, tmp_path):
    rows = tuple(replace(row, folds=()) for row in comparison.rows)
    files = write_comparison(tmp_path, replace(comparison, rows=rows, made_up=made_up))

    assert (f"<p class=warn>{MADE_UP}" in files["html"].read_text()) == made_up
    assert (MADE_UP in files["md"].read_text()) == made_up


def test_the_best_figure_is_bold_and_the_least_brier_is_best(comparison):
    rows = comparison.rows

    cells = metric_cells(rows)

    for key, choose in (("auc", max), ("sen", max), ("brier", min)):
        means = [row.metrics[key]["mean"] for row in rows]
        bold = {place for place, line in enumerate(cells) if line[key].best}
        assert means.index(choose(means)) in bold, key
        assert all(f"{means[p]:.3f}" == f"{choose(means):.3f}" for p in bold), key


def test_a_reported_f1_stands_beside_the_macro_f1(comparison):
    cells = metric_cells(comparison.rows)[0]

    assert cells["f1_macro"].paper == "0.7541"
    assert cells["f1"].paper == ""


def test_markdown_has_a_row_a_method_with_mean_sd_and_interval(comparison):
    text = as_markdown(comparison)

    head, _, *rest = [line for line in text.splitlines() if line.startswith("|")]
    assert "majority ACC" in head
    assert "macro-F1" in head
    assert re.search(
        r"\d\.\d{3} \(\d\.\d{3}\)\*{0,2} \[\d\.\d{3}, \d\.\d{3}\]", rest[0]
    )
    assert len({line.count("|") for line in [head, *rest[: len(comparison.rows)]]}) == 1


def test_what_is_not_known_is_left_out(comparison, tmp_path):
    bare = tuple(
        replace(row, folds=(), reported=None, against=None, subgroups=(), cost=Cost())
        for row in comparison.rows
    )

    files = write_comparison(tmp_path, replace(comparison, rows=bare, caveats=()))

    assert set(files) == {"csv", "md", "html", "forest"}
    page = files["html"].read_text()
    assert "<h2>Cost" not in page
    assert "<h2>Calibration" not in page
    assert "<h2>Against" not in page


def test_an_undefined_metric_is_a_dash(comparison, tmp_path):
    nothing = {"mean": None, "sd": None, "pooled": None, "ci95": [None, None]}
    row = comparison.rows[0]
    row = replace(row, metrics={**row.metrics, "auc": nothing}, folds=())
    other = replace(comparison.rows[1], folds=())

    files = write_comparison(tmp_path, replace(comparison, rows=(row, other)))

    assert (
        "<td>-<span class=paper>paper 0.7581</span></td>" in files["html"].read_text()
    )
    assert by_auc((row, other))[-1] is row


def test_nothing_to_compare_is_said(comparison, tmp_path):
    with pytest.raises(TrainingError, match="no method"):
        write_comparison(tmp_path, replace(comparison, rows=()))


def test_an_overview_names_seven_of_many_and_sheets_show_all():
    comparison = made_up_comparison(9)

    roc = overview_figure(comparison.rows, "harm3").axes[0]
    sheet = roc_sheet(comparison.rows)
    forest = forest_figure(comparison.rows, "harm3")

    assert len(roc.get_legend().get_texts()) == 7
    assert roc.get_legend().get_texts()[0].get_text().startswith("HARM3")
    titles = {axis.get_title() for axis in sheet.axes} - {""}
    assert titles == {row.title for row in comparison.rows}
    words = {text.get_text() for axis in forest.axes for text in axis.texts}
    assert "reference" in words


def test_p_values_and_large_numbers_are_printed_as_people_say_them():
    assert [p_text(p) for p in (None, 0.0004, 0.0345)] == ["-", "< 0.001", "0.035"]
    assert [short(n) for n in (None, 999, 33_160_000, 2_500_000_000)] == [
        "-",
        "999",
        "33.2 M",
        "2.5 G",
    ]
