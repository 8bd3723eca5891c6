"""Tables that a person saved as text: read whole, rows numbered as on a screen."""

import csv
import io
import re
from itertools import zip_longest
from pathlib import Path

from napari_harm3.errors import CohortError, sentence

DECIMAL_COMMA = re.compile(r"^\s*([+-]?\d+),(\d+)\s*$")
"""What a number looks like in a table that is parted by semicolons."""


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and the rows that are not blank, with their numbers.

    The header is row 1, and a blank row counts. Cells are parted by tabs if the header
    holds one, else by commas or semicolons, whichever it holds more of. Where these are
    semicolons, a spreadsheet has written numbers with decimal commas: points are given.

    Raises
    ------
    CohortError
        If the file cannot be read, or is no table of UTF-8 text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        head = text.split("\n", 1)[0]
        delimiter = "\t" if "\t" in head else max(",;", key=head.count)
        stream = io.StringIO(text, newline="")
        table = list(csv.reader(stream, delimiter=delimiter, strict=True))
    except OSError as error:
        raise CohortError(sentence(error, path.name)) from error
    except UnicodeDecodeError as error:
        raise CohortError(
            f"{path.name} is not UTF-8 text (byte {error.start}): save it as CSV UTF-8."
        ) from error
    except csv.Error as error:
        raise CohortError(f"{path.name} is not a CSV table: {error}.") from error
    if delimiter == ";":
        table = [[DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in row] for row in table]
    rows = [(n, row) for n, row in enumerate(table[1:], start=2) if any(row)]
    return [cell.strip() for row in table[:1] for cell in row], rows


def read_named_rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the header and the numbered rows, each cell under its column's name.

    A cell that a row lacks is blank, and one beyond the header is left out.

    Raises
    ------
    CohortError
        As `read_rows`.
    """
    header, rows = read_rows(path)
    named = [
        (n, dict(zip_longest(header, row[: len(header)], fillvalue="")))
        for n, row in rows
    ]
    return header, named
