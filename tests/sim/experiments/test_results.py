"""Which changes of the code make finished runs invalid."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import sim.experiments.run
from sim.experiments import results
loaded = [name.replace(".", "/") for name in sys.modules if name.split(".")[0] in results._PACKAGES]
files = [name + ".py" for name in loaded]
idle = [file for file in files if file.startswith(results._SHOWING)]
print(sorted(idle))
"""


def test_no_run_loads_a_source_that_is_said_to_have_no_part_in_runs() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["sim/experiments/results.py"])
