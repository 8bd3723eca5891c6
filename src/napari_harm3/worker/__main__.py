"""``python -m napari_harm3.worker --work DIR``."""

import argparse
from pathlib import Path

from napari_harm3.threads import share_cores

share_cores()  # before the server loads numpy

from napari_harm3.worker.server import main  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    main(parser.parse_args().work)
