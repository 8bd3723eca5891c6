"""A hospital's folder for the tests: what its series say, and its proposal."""

import csv

SLICES = (7, 5, 12)
T1 = {"EchoTime": 10.0, "RepetitionTime": 600.0, "SeriesDescription": "t1 tse"}
T2 = {"EchoTime": 90.0, "RepetitionTime": 4000.0, "SeriesDescription": "t2 tse"}
AGENT = {"ContrastBolusAgent": "Gadovist"}
FIRST, MIDDLE, LAST = "20240105", "20240201", "20240320"


def proposal(out):
    with (out / "proposal.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def edit(out, change):
    rows = proposal(out)
    change(rows)
    with (out / "proposal.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def warnings_of(job):
    return [message.warning for message in job if message.warning]


def roles(out):
    return {row["role"]: row for row in proposal(out) if row["role"]}
