"""Build the wheel, install it in an empty environment, and use it there. Run by `make wheel`; not a test file.

What an editable install hides shows here: files left out of the wheel, imports that only work in the source
folder, and names at the top level of site-packages that another distribution owns too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from gossipllm.base import MODELS

PACKAGES = ("gossipllm", "peers", "trust", "wire", "sim")
OWNERS = """
import importlib.metadata, json
owners = importlib.metadata.packages_distributions()
print(json.dumps({name: sorted(set(owners.get(name, []))) for name in %r}))
"""


def main() -> None:
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        # Both from the clone: by default `build` makes the wheel from the sdist, which would hide what that lacks.
        _run(sys.executable, "-m", "build", "--sdist", "--wheel", "--outdir", str(work), str(root))
        (wheel,) = work.glob("*.whl")
        (sdist,) = work.glob("*.tar.gz")
        _check_contents(wheel)
        _check_source(sdist)
        python = _install(work / "env", wheel, root / "constraints.txt")
        owners = json.loads(_run(python, "-c", OWNERS % (PACKAGES,), cwd=work))
        for name, distributions in owners.items():
            _expect(distributions == ["gossipllm"], f"the package {name} belongs to {distributions}")
        command = str(Path(python).with_name("gossipllm"))
        _expect("Start with: gossipllm demo" in _run(command, "--help", cwd=work), "--help does not answer")
        demo = ("demo", "--peers", "2", "--rounds", "1", "--steps", "2", "--no-alone", "-o", "demo")
        _run(command, *demo, cwd=work)
        _expect((work / "demo" / "trust.png").is_file(), "the demo drew no matrix")
        shown = json.loads(_run(command, "trust", "show", "demo", "--json", cwd=work))
        _expect(len(shown["rows"]) == 2, "the demo did not end with two rows")
    print("wheel check passed")


def _check_source(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for part in ("gossipllm/base/making/pretraining.py", "tests/wheel_check.py", "benchmarks/small_base.py"):
        _expect(part in names, f"{part} is missing in the sdist")


def _check_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    _expect(tops == set(PACKAGES), f"the wheel holds {sorted(tops)}")
    for package in PACKAGES:
        _expect(f"{package}/py.typed" in names, f"{package}/py.typed is missing")
    models = [
        f"{folder}/{file}" for folder in MODELS.values() for file in ("model.safetensors", "tokenizer.json")
    ]
    for part in (*models, "text/fr.txt", "LICENSES.md"):
        _expect(f"gossipllm/base/{part}" in names, f"gossipllm/base/{part} is missing")
    making = [name for name in names if name.startswith("gossipllm/base/making")]
    _expect(not making, f"the wheel holds the training of the embedded model: {making}")


def _install(folder: Path, wheel: Path, constraints: Path) -> str:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(constraints))
    _run(python, *pip, str(wheel))
    return python


def _run(*command: str, cwd: Path | None = None) -> str:
    # Without PYTHON* variables, so that nothing of this environment reaches the other.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        sys.exit(f"wheel check failed: {otherwise}")


if __name__ == "__main__":
    main()
