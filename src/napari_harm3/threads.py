"""How the threads of numpy and torch share the cores with everything else.

They spin while they wait for each other. numpy's OpenBLAS sets all of them on products
of a few numbers, and where another program holds a core they spin for as long as it
does. On two cores a case was explained in 7.6 s for 14.6 without this, and in 9.0 s for
34.9 beside a training.
"""

import os

PATIENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""No matrix here is worth a second thread of numpy; torch's wait asleep."""


def share_cores() -> None:
    """Let threads wait asleep, unless the environment says otherwise.

    It holds for what is loaded later: call it before numpy and torch are.
    """
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)
