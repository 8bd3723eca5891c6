"""What an explanation folder says of itself, and what is taken away with it."""

import json
from pathlib import Path

import pytest

from napari_harm3.report.explanation_folder import ABOUT, withdraw


def test_what_could_not_be_taken_away_is_taken_away_later(tmp_path, monkeypatch):
    names = ("t1_pre_cam.nii.gz", "t2_pre_cam.nii.gz", "agreement.json")
    for name in names:
        (tmp_path / name).write_text("{}")
    files = {"maps": {"t1_pre": names[0], "t2_pre": names[1]}, "also": [names[2]]}
    (tmp_path / ABOUT).write_text(json.dumps({"case_id": "A", "files": files}))
    unlink = Path.unlink

    def locked(path, **options):
        if path.name == names[1]:
            raise PermissionError(path)
        unlink(path, **options)

    with monkeypatch.context() as held:
        held.setattr(Path, "unlink", locked)
        with pytest.raises(PermissionError):
            withdraw(tmp_path)
    withdraw(tmp_path)

    assert not [*tmp_path.iterdir()]
