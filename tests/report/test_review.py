"""What readers said is kept, whatever else lies in the folder."""

import csv
import json
from pathlib import Path

import pytest

from napari_harm3.errors import ConfigError, Harm3Error
from napari_harm3.jobs import review

BEFORE_THERE_WERE_READINGS = {
    "case_id": "HN-1",
    "verdict": "agree",
    "comment": "clear",
    "reader": "Ann",
    "model": "run",
    "probability": 0.25,
    "time": "2026-01-02T03:04:05+00:00",
}


def said(case_id="HN-1", **fields):
    return review.record(case_id=case_id, **fields)


def kept(work, case_id="HN-1"):
    return json.loads((work / "reviews" / f"{case_id}.json").read_text())["reviews"]


def test_a_case_is_read_before_and_after_its_prediction(tmp_path):
    record = said(
        reading="non-pcr",
        confidence=4,
        first_reading="pcr",
        first_confidence=2,
        verdict="disagree",
        localisation=5,
        flags=["motion", "look again"],
        comment="beside the node",
        seconds=12.5,
        reader="Ann",
        model="run",
        probability=0.75,
    )

    review.save(tmp_path, record)

    assert review.load(tmp_path, "HN-1") == record
    assert review.load(tmp_path, "HN-2") is None


def test_a_final_word_stays_and_a_draft_makes_room(tmp_path):
    for number, draft in enumerate([True, False, True, True, False]):
        review.save(tmp_path, said(comment=str(number), draft=draft))

    assert [one["comment"] for one in kept(tmp_path)] == ["1", "4"]


def test_the_table_holds_the_latest_word_on_every_case(tmp_path):
    review.save(tmp_path, said("HN-2", reading="pcr", flags=["slide", "motion"]))
    review.save(tmp_path, said("HN-1", reading="pcr"))
    review.save(tmp_path, said("HN-1", reading="non-pcr", confidence=1))

    with (tmp_path / "reviews" / "reviews.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)

    assert (first["case_id"], first["reading"]) == ("HN-1", "non-pcr")
    assert (first["confidence"], first["verdict"]) == ("1", "")
    assert (second["case_id"], second["flags"]) == ("HN-2", "slide; motion")


def test_what_was_said_before_there_were_readings_is_read(tmp_path):
    (tmp_path / "reviews").mkdir()
    old = {"reviews": [BEFORE_THERE_WERE_READINGS]}
    (tmp_path / "reviews" / "HN-1.json").write_text(json.dumps(old))

    found = review.load(tmp_path, "HN-1")

    assert (found.verdict, found.probability, found.reading) == ("agree", 0.25, None)
    review.save(tmp_path, said(reading="pcr"))
    assert [one["verdict"] for one in kept(tmp_path)] == ["agree", None]


def test_a_damaged_file_hides_no_other_and_is_not_written_over(tmp_path):
    review.save(tmp_path, said("HN-2", reading="pcr"))
    damaged = tmp_path / "reviews" / "HN-1.json"
    damaged.write_text('{"reviews": [')

    found, faults = review.load_all(tmp_path)

    assert set(found) == {"HN-2"}
    assert len(faults) == 1
    where = Path(tmp_path.name, "reviews", "HN-1.json")
    assert faults[0].startswith(f"{where} is no review that can be read: ")
    review.save(tmp_path, said("HN-3", reading="pcr"))
    with pytest.raises(Harm3Error, match=r"HN-1\.json is no review"):
        review.save(tmp_path, said("HN-1", reading="pcr"))
    assert damaged.read_text() == '{"reviews": ['


def test_a_damaged_file_is_set_aside_and_the_case_reviewed_anew(tmp_path):
    (tmp_path / "reviews").mkdir()
    for text in ("{", "["):
        (tmp_path / "reviews" / "HN-1.json").write_text(text)
        aside = review.set_aside(tmp_path, "HN-1")
        assert aside.read_text() == text

    review.save(tmp_path, said(reading="pcr"))

    found, faults = review.load_all(tmp_path)
    assert (set(found), faults) == ({"HN-1"}, [])
    assert len(list((tmp_path / "reviews").glob("HN-1.json.damaged-*"))) == 2


@pytest.mark.parametrize(
    "fields",
    [{"confidence": 6}, {"localisation": 0}, {"reading": "maybe"}, {"flags": ["ugly"]}],
)
def test_what_is_no_answer_is_refused(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        said(**fields)
