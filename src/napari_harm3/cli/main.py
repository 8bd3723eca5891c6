"""``harm3``: the console script."""

import sys
from collections.abc import Sequence

from napari_harm3.cli.ending import ended


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``harm3``; exit 0 done, 1 the user can put it right, 2 usage, 130 stopped."""

    def command() -> int:
        # They load in here, for that takes seconds in which Ctrl+C may come.
        from napari_harm3.cli.commands import run

        return run(arguments)

    sys.exit(ended(command))


if __name__ == "__main__":
    main()
