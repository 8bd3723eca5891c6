"""CLAIM and TRIPOD+AI, filled in as far as a run can tell; the rest is the author's."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from napari_harm3.artifacts import write_text
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report.checklist_facts import facts, read_run
from napari_harm3.report.checklist_items import CLAIM, TRIPOD_AI, Item
from napari_harm3.report.comparison_tables import markdown_table
from napari_harm3.report.page import warning_lines, warnings, write_page
from napari_harm3.report.tables import html_frame

AUTHOR = "author"
COMMAND = re.compile("`([^`]+)`")
"""How answers mark a command: as Markdown does."""

CHECKLISTS = {
    "claim-2024": ("CLAIM, 2024 update", CLAIM),
    "tripod-ai-2024": ("TRIPOD+AI, 2024", TRIPOD_AI),
}
HEADER = ("No.", "Section", "Item", "Answer")
HOW = (
    "The items are put in our own words: use the published checklist beside them. The "
    "answers come from the run folder. Where they say “author”, only the authors can."
)


class Answer(NamedTuple):
    """An item with what the software says of it."""

    item: Item
    text: str
    """`AUTHOR` alone where the software knows nothing."""


def answers(items: Sequence[Item], known: Mapping[str, str]) -> list[Answer]:
    """Return every item of a checklist, answered or left to the author."""
    return [Answer(item, known.get(item.fact, "") or AUTHOR) for item in items]


def write_checklists(
    run: Path, folder: Path, *, also: Mapping[str, str] | None = None
) -> dict[str, Path]:
    """Write both checklists as Markdown and HTML; return the files by their names.

    Parameters
    ----------
    run
        A run trained to its end.
    folder
        Where to write.
    also
        Facts that the run does not hold, by the names of `checklist_items`, such as
        ``external`` once a model was measured elsewhere.

    Raises
    ------
    ModelError
        If the run was not trained to its end.
    """
    record = read_run(run)
    known = facts(record) | dict(also or {})
    origin = {
        name: bool(record.about.get(name)) for name in ("made_up", "untrained_encoder")
    }
    written = {}
    for name, (title, items) in CHECKLISTS.items():
        found = answers(items, known)
        written[f"{name}.md"] = folder / f"{name}.md"
        write_text(
            written[f"{name}.md"], as_markdown(title, found, warning_lines(**origin))
        )
        written[f"{name}.html"] = folder / f"{name}.html"
        write_page(
            written[f"{name}.html"], title, _page(title, found, warnings(**origin))
        )
    return written


def as_markdown(title: str, found: Sequence[Answer], red: Sequence[str]) -> str:
    """Return a checklist as Markdown, under its warnings."""
    lines = [
        [
            answer.item.number,
            answer.item.section,
            answer.item.asks,
            f"**{AUTHOR}**" if answer.text == AUTHOR else answer.text,
        ]
        for answer in found
    ]
    table = markdown_table(HEADER, lines)
    warned = "".join(f"> **{text}**\n\n" for text in red)
    about = f"{_summary(found)} {HOW} {RESEARCH_ONLY}"
    return f"# {title}\n\n{about}\n\n{warned}{table}\n"


def _page(title: str, found: Sequence[Answer], warned: str) -> list[str]:
    rows = "".join(
        f"<tr><td>{escape(answer.item.number)}</td>"
        f"<td>{escape(answer.item.section)}</td><td>{escape(answer.item.asks)}</td>"
        + (
            f"<td class=author>{AUTHOR}</td></tr>"
            if answer.text == AUTHOR
            else f"<td>{_marked_up(answer.text)}</td></tr>"
        )
        for answer in found
    )
    return [
        f"<h1>{escape(title)}</h1>",
        f"<p class=soft>{_summary(found)} {HOW} {RESEARCH_ONLY}</p>",
        warned,
        html_frame(HEADER, rows),
    ]


def _marked_up(text: str) -> str:
    return COMMAND.sub(r"<code>\1</code>", escape(text))


def _summary(found: Sequence[Answer]) -> str:
    filled = sum(answer.text != AUTHOR for answer in found)
    return f"{filled} of {len(found)} items have an answer from the run."
