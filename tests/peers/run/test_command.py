"""What the network's process is made of."""

from __future__ import annotations

import subprocess
import sys


def test_the_network_process_loads_no_torch() -> None:
    code = (
        "import sys, peers.run.command, peers.commands.run, peers.commands.init; "
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom gossipllm.cli import root\n"
        "print(CliRunner().invoke(root, ['--help']).exit_code)\n"
        "print(sorted({'torch', 'numpy', 'trio', 'libp2p', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split("\n")[:2] == ["0", "[]"]
