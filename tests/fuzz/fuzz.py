"""Feeds the decoders whatever libFuzzer thinks of, guided by the code it reaches.

    python tests/fuzz/fuzz.py [--seconds 60] [--keep] [TARGET...]

Each target runs in a process of its own, from the corpus in `corpus/TARGET` and the seeds in targets.py. A fault prints
its traceback and the file that shows it, to be kept in the corpus as a test, and ends with code 1. `--keep` adds inputs
that reach new code to the corpus. Without atheris, which has no wheels for some platforms, it says so and ends with 0.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
MAX_BYTES = 8_192
"""Longest input: an announcement with its limit of 6 kB fits."""
KEPT = 24
"""Inputs that `--keep` adds at most, the shortest first."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add what reaches new code to the corpus")
    parser.add_argument("--in-process", help=argparse.SUPPRESS)
    parser.add_argument("--libfuzzer", nargs=argparse.REMAINDER, default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(
            f"fuzzing is skipped: atheris has no wheel for Python {sys.version.split()[0]} on {sys.platform}"
        )
        return 0
    if options.in_process:
        _fuzz(options.in_process, options.libfuzzer)
        return 0
    names = [path.name for path in sorted(CORPUS.iterdir())]
    unknown = set(options.targets) - set(names)
    if unknown:
        parser.error(f"unknown target {min(unknown)}; there are {', '.join(names)}")
    failed = [name for name in options.targets or names if not _run(name, options.seconds, keep=options.keep)]
    return 1 if failed else 0


def _run(name: str, seconds: int, *, keep: bool) -> bool:
    """Fuzz one target; whether it found nothing."""
    with tempfile.TemporaryDirectory(prefix="gossipllm-fuzz-") as new:
        found = Path(tempfile.gettempdir()) / f"gossipllm-fuzz-{name}-"
        arguments = [new, str(CORPUS / name), f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}"]
        arguments += [f"-artifact_prefix={found}", "-verbosity=0", "-print_final_stats=1", "-timeout=10"]
        done = _libfuzzer(name, arguments)
        runs = next((line.split()[-1] for line in done.stderr.splitlines() if "executed_units" in line), "?")
        print(f"{name:<14} {runs:>9} inputs in {seconds} s: {'a fault' if done.returncode else 'no fault'}")
        if done.returncode:
            print(done.stdout[-4_000:], done.stderr[-4_000:], sep="\n")
        elif keep:
            # libFuzzer's own merge starts processes by a name that is no Python program.
            for path in sorted(Path(new).iterdir(), key=lambda each: each.stat().st_size)[:KEPT]:
                shutil.copy(path, CORPUS / name)
        return not done.returncode


def _libfuzzer(name: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, "--in-process", name, "--libfuzzer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _fuzz(name: str, arguments: list[str]) -> None:
    atheris: Any = importlib.import_module("atheris")
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]
    with atheris.instrument_imports(include=["wire", "peers.net", "peers.home", "gossipllm.pipe", "targets"]):
        targets = importlib.import_module("targets")
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
