"""Every command of ``harm3``, one dataclass each."""

from collections.abc import Sequence

import tyro

from napari_harm3.cli.check import Check
from napari_harm3.cli.demo import Demo
from napari_harm3.cli.doctor import Doctor
from napari_harm3.cli.evaluate import Evaluate
from napari_harm3.cli.explain import Explain
from napari_harm3.cli.export import Export
from napari_harm3.cli.features import Features
from napari_harm3.cli.importing import Import
from napari_harm3.cli.models import Models
from napari_harm3.cli.phantom import Phantom
from napari_harm3.cli.predict import Predict
from napari_harm3.cli.prepare import Prepare
from napari_harm3.cli.report import Report
from napari_harm3.cli.reproduce import Reproduce
from napari_harm3.cli.show import refuse
from napari_harm3.cli.tissue import Tissue
from napari_harm3.cli.train import Train
from napari_harm3.cli.view import View
from napari_harm3.errors import Harm3Error

Command = (
    Demo
    | Phantom
    | Check
    | Import
    | Prepare
    | Tissue
    | Features
    | Doctor
    | Train
    | Evaluate
    | Export
    | Predict
    | Explain
    | Reproduce
    | Report
    | Models
    | View
)


def run(arguments: Sequence[str] | None) -> int:
    """Run the command that the arguments name; return its exit code.

    Arguments that are none of ``harm3``'s end it by themselves, with exit code 2.
    """
    command: Command = tyro.cli(
        Command,
        prog="harm3",
        description="Read a cancer patient's MRI and biopsy slide together.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
    try:
        return command.run()
    except Harm3Error as error:  # a value refused before any job began
        return refuse(error, json=getattr(command, "json", False))
