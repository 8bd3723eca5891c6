"""A page: one HTML file that needs no network and prints well."""

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from importlib.resources import files
from pathlib import Path

from matplotlib.figure import Figure

from napari_harm3.artifacts import write_text
from napari_harm3.errors import ModelError
from napari_harm3.notices import MADE_UP, UNTRAINED

STYLE = files("napari_harm3.report") / "page.css"


def write_page(
    out: Path, title: str, parts: Sequence[str], *, wide: bool = False
) -> None:
    """Write a page from pieces of HTML."""
    style = STYLE.read_text(encoding="utf-8")
    page = (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body{' class=wide' if wide else ''}>{''.join(parts)}</body></html>\n"
    )
    write_text(out, page)


def warning_lines(*, made_up: bool, untrained_encoder: bool) -> list[str]:
    """Return what no page or file about such a model may lack."""
    said = [(made_up, MADE_UP), (untrained_encoder, UNTRAINED)]
    return [text for holds, text in said if holds]


def warnings(*, made_up: bool, untrained_encoder: bool) -> str:
    """Return the same in red, as HTML."""
    lines = warning_lines(made_up=made_up, untrained_encoder=untrained_encoder)
    return "".join(f"<p class=warn>{text}</p>" for text in lines)


@contextmanager
def readable(folder: Path, name: str) -> Iterator[None]:
    """Say of whatever a damaged file breaks which file it is.

    Only what reads the file belongs within: a fault of ours would be told as its own.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise ModelError(
            f"{folder.name}/{name} is damaged: copy it again, or make it again."
        ) from error


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """Return figures in large print, each with its name."""
    each = (
        f"<div class=card><b>{escape(value)}</b>{escape(name)}</div>"
        for name, value in figures
    )
    return f"<div class=cards>{''.join(each)}</div>"


def image(png: bytes, alt: str) -> str:
    """Return a picture that the page carries in itself."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def details(title: str, content: str) -> str:
    """Return a part that opens when asked."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def as_png(figure: Figure, *, dpi: int = 110, outside: bool = False) -> bytes:
    """Return a figure as PNG, without a date, so that equal figures are equal bytes.

    Parameters
    ----------
    figure, dpi
        The picture and its resolution.
    outside
        Widen the picture to what is written outside its frame.
    """
    stream = io.BytesIO()
    figure.savefig(
        stream,
        format="png",
        dpi=dpi,
        metadata={"Software": None},
        bbox_inches="tight" if outside else None,
    )
    return stream.getvalue()
