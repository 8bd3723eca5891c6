"""Start, pause, stop and resume a run; say how far it is."""

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_harm3.plugin.run_process import RunProcess, Status
from napari_harm3.plugin.run_state import RunState, in_words
from napari_harm3.plugin.widgets.parts import SOFT, WARNING, note

POLL_MS = 400
FULL = 1000
PAUSE, CONTINUE = "Pause", "Continue"
WORDS: dict[Status, str] = {
    "idle": "Nothing was trained in this folder yet.",
    "starting": "Starting; it goes on when this window is closed.",
    "preparing": "Preparing volumes and slides",
    "pausing": "Pausing after this step ...",
    "paused": "Paused; press Continue to go on.",
    "stopping": "Stopping after this step ...",
    "stopped": "Stopped; press Resume to go on.",
    "silent": "The training process ended without a word; press Resume.",
}
ILL = ("failed", "silent")


class RunControls(QWidget):
    """Buttons, a bar and a sentence over the process that works in a folder.

    Parameters
    ----------
    words
        Says what a run that trains is doing, or what a finished one came to.
    start
        Begins the process; told whether it goes on with what is there.
    """

    changed = Signal()
    """There is something new to draw."""

    def __init__(
        self, words: Callable[[Status], str], start: Callable[[bool], None]
    ) -> None:
        super().__init__()
        self.process: RunProcess | None = None
        self.status: Status = "idle"
        self._ready = False
        self._words = words
        self.start_button = QPushButton("Start")
        self.start_button.clicked.connect(lambda: start(False))
        self.pause_button = QPushButton(PAUSE)
        self.pause_button.clicked.connect(self._pause)
        self.stop_button = QPushButton("Stop")
        self.stop_button.clicked.connect(self._stop)
        self.resume_button = QPushButton("Resume")
        self.resume_button.clicked.connect(lambda: start(True))
        self.progress = QProgressBar()
        self.progress.setRange(0, FULL)
        self.progress.setFormat("")
        self.phase = note()
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        for button, tip in (
            (self.start_button, "Begin, in a process that outlives this window"),
            (self.pause_button, "Wait between two steps, in memory"),
            (self.stop_button, "End after this step; what is done is kept"),
            (self.resume_button, "Go on where it was stopped"),
        ):
            button.setToolTip(tip)
            buttons.addWidget(button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.phase)
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.poll)
        self._enable()

    @property
    def state(self) -> RunState | None:
        """What the folder says, if there is one."""
        return None if self.process is None else self.process.state

    def follow(self, process: RunProcess) -> None:
        """Watch a process, whoever began it."""
        self.process = process
        process.state.read()
        self._show(process.status)
        self._timer.start()

    def process_in(self, state: RunState) -> RunProcess:
        """Return the process of a folder; the one that is watched, if it works there.

        Parameters
        ----------
        state
            Follows the folder if no other does.
        """
        known = self.process
        if known is not None and known.state.folder == state.folder:
            return known
        return RunProcess(state)

    def begin(self, state: RunState, command: Sequence[str]) -> None:
        """Begin ``harm3`` in a folder, and watch it."""
        process = self.process_in(state)
        if process.start(command):
            self.follow(process)
        else:
            self.say("The training process could not be started.", ill=True)

    def say(self, text: str, *, ill: bool = False) -> None:
        """Say a sentence, until there is news."""
        self.phase.set_look(WARNING if ill else SOFT)
        self.phase.setText(text)

    def invite(self, *, ready: bool) -> None:
        """Say what to do first, unless a process is watched.

        Parameters
        ----------
        ready
            Whether there is a cohort to train on.
        """
        self._ready = ready
        self._enable()
        if self.process is None:
            self.say(
                "Ready: press Start."
                if ready
                else "Choose a cohort in the Cases panel, then press Start."
            )

    def poll(self) -> None:
        """Look whether there is anything new."""
        if self.process is None:
            return
        new = self.process.state.read()
        status = self.process.status
        if new or status != self.status:
            self._show(status)

    def _pause(self) -> None:
        if self.process is not None:
            self.process.pause(on=self.pause_button.text() == PAUSE)
            self.poll()

    def _stop(self) -> None:
        if self.process is not None:
            self.process.stop()
            self.poll()

    def _show(self, status: Status) -> None:
        assert self.process is not None
        state, self.status = self.process.state, status
        self._show_progress(state)
        text = WORDS.get(status, "")
        if status == "preparing" and state.text:
            text = f"{text}: {state.text}"
        elif status == "silent" and self.process.last_words:
            text = f"{self.process.last_words} Then press Resume."
        elif status in ("training", "done"):
            text = self._words(status)
        elif status == "failed":
            text = state.text
        self.say(text, ill=status in ILL)
        self._enable()
        self.changed.emit()

    def _show_progress(self, state: RunState) -> None:
        unknown = self.status in ("starting", "preparing") and not state.done
        self.progress.setRange(0, 0 if unknown else FULL)
        if unknown:
            return
        share = state.done / state.count if state.count else 0.0
        share = 1.0 if self.status == "done" else share
        left = state.seconds_left if self.status == "training" else None
        words = "" if left is None else f"  ·  {in_words(left)}"
        self.progress.setValue(round(share * FULL))
        shown = self.status != "idle"
        self.progress.setFormat(f"{share:.0%}{words}" if shown else "")

    def _enable(self) -> None:
        live = self.process is not None and self.process.live
        # Before it has begun, it would not hear of stop and pause.
        told = live and self.status != "starting"
        held = self.status in ("pausing", "paused")
        self.start_button.setEnabled(self._ready and not live)
        self.pause_button.setEnabled(told and self.status != "stopping")
        self.pause_button.setText(CONTINUE if held else PAUSE)
        self.stop_button.setEnabled(told and self.status != "stopping")
        begun = self.status in ("stopped", "failed", "silent")
        self.resume_button.setEnabled(begun)


def epoch_words(state: RunState) -> str:
    """Return what a run that trains is doing."""
    finished = sum(fold.finished for fold in state.folds.values())
    counted = f"{finished} of {state.count} folds finished"
    running = state.running
    if len(running) != 1:
        names = ", ".join(map(str, running))
        return f"Folds {names} side by side; {counted}." if running else f"{counted}."
    number = running[0]
    fold = state.folds[number]
    said = [f"Fold {number}"]
    if fold.epochs:
        # The epoch at work is the one after the last that was heard of.
        said.append(f"epoch {min(fold.epoch + 1, fold.epochs)} of {fold.epochs}")
    if fold.step:
        said.append(f"step {fold.step} of {fold.steps}")
    return f"{', '.join(said)}; {counted}."


def result_words(metrics: dict[str, Any]) -> str:
    """Return what a run came to."""
    auc = metrics["auc"]
    if auc["mean"] is None:
        return "Finished; its AUC is not defined."
    low, high = auc["ci95"]
    return (
        f"Finished: AUC {auc['mean']:.3f} (95 % CI {low:.3f} to {high:.3f}), "
        f"{metrics['n']} cases."
    )
