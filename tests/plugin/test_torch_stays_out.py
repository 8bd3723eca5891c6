"""What torch brings kills a process that has drawn; the viewer never imports it."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
from napari_harm3 import plugin
for module in pkgutil.walk_packages(plugin.__path__, plugin.__name__ + "."):
    importlib.import_module(module.name)
heavy = {"torch", "timm", "sklearn", "triton", "matplotlib"} & set(sys.modules)
print(sorted(heavy))
"""


def test_no_module_of_the_plugin_imports_it():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
