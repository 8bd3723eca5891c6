"""``python -m napari_harm3.worker --work DIR``."""

import argparse
from pathlib import Path

from napari_harm3.worker.server import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    main(parser.parse_args().work)
