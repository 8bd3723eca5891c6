"""A slide opened before its turn is closed, whoever did not take it."""

from pathlib import Path

import pytest
from filelock import FileLock

from napari_harm3.jobs import slide_batch
from napari_harm3.jobs.slide_batch import LOCKS, SlideTask, Work, run_batch


class Slides:
    """Stands for the slides of a batch; keeps who is open."""

    def __init__(self) -> None:
        self.open: list[str] = []

    def begin(self, task: SlideTask) -> str:
        self.open.append(task.stem)
        return task.stem

    def finish(self, task, opened):
        if task.stem == "wrong":
            raise OSError("The encoder does not load.")
        name = opened()
        try:
            yield 0, 1
        finally:
            self.end(name)
        return {"status": "done"}

    def end(self, name: str) -> None:
        self.open.remove(name)

    def job(self, out: Path, *names: str):
        work = Work(open=self.begin, finish=self.finish, close=self.end)
        tasks = [
            SlideTask(number=number, slide=Path(f"{name}.tif"))
            for number, name in enumerate(names)
        ]
        return run_batch("test", tasks, work, out=out, workers=1)


def test_one_that_another_process_holds_is_closed_and_opened_again(
    tmp_path, monkeypatch
):
    slides, told = Slides(), []
    monkeypatch.setattr(slide_batch.time, "sleep", lambda _: None)
    (tmp_path / LOCKS).mkdir()

    with FileLock(tmp_path / LOCKS / "held.lock") as held:
        for message in slides.job(tmp_path, "first", "held", "last"):
            told.append(message)
            if "another process" in message.text:
                assert slides.open == []
                held.release()

    assert [row["status"] for row in told[-1].result["slides"]] == ["done"] * 3
    assert slides.open == []


def test_one_whose_work_fails_before_it_is_read_is_closed(tmp_path):
    slides = Slides()

    *_, last = slides.job(tmp_path, "first", "wrong", "last")

    statuses = [row["status"] for row in last.result["slides"]]
    assert statuses == ["done", "failed", "done"]
    assert slides.open == []


@pytest.mark.parametrize("steps", [1, 2])
def test_the_next_one_is_closed_with_the_batch(tmp_path, steps):
    slides = Slides()
    job = slides.job(tmp_path, "first", "second", "third")
    for _ in range(steps):
        next(job)

    job.close()

    assert slides.open == []
