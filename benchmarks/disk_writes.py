"""Bytes that a peer writes to its disk in a round, against the size of what changed in it.

    python benchmarks/disk_writes.py [--rounds 10] [--neighbours 3] [--update-kb 20] [--json]

The real store saves the states of rounds of made-up bytes: a snapshot of six times the update (an adapter and two
moments in float32, an update in bfloat16) after the local steps and after the merge, an update, predictions, the
snapshot of the best state, which changes every fifth round, and the merge inputs with an update of each neighbour.
What is written is what the system counts for this process (`wchar` of /proc/self/io); what changed are contents that
no earlier state held. Beside it stands what is written where every file holds all its contents, as before contents
were apart.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gossipllm.pipe import Sender
from peers.core.merge_inputs import MergeInput, MergeInputs
from peers.core.saved import LocalSteps, Saved
from peers.home.store import StateStore
from wire.digest import Content
from wire.messages import Fingerprints


class Account:
    """Counts the bytes of contents that were not there before, and those of whole frames."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self.changed = 0
        self.whole = 0

    def add(self, message: object, contents: Iterable[Content]) -> None:
        fresh = {one.digest: one.size for one in contents if one.digest not in self._seen}
        self._seen.update(fresh)
        self.changed += sum(fresh.values())
        self.whole += sum(map(len, Sender[object]().frame(message)))


def measured(rounds: int, neighbours: int, update_bytes: int) -> tuple[int, Account]:
    """Bytes written after the first round, whose files are all new, and the account of the same rounds."""
    rng, account = random.Random(0), Account()

    def fresh(size: int) -> Content:
        return Content.of(rng.randbytes(size))

    local = LocalSteps(tokens=1, samples=1, steps=1, train_loss=1.0, trust_loss=1.0, seconds=1.0)
    names = Fingerprints(base=bytes(32), tokenizer=bytes(32), reference=bytes(32), layout=bytes(32))
    snapshot, best, before = fresh(6 * update_bytes), fresh(6 * update_bytes), 0
    with tempfile.TemporaryDirectory() as folder:
        store = StateStore(Path(folder))
        for number in range(rounds + 1):
            trained, update, evidence = fresh(6 * update_bytes), fresh(update_bytes), fresh(update_bytes // 2)
            best = trained if number % 5 == 0 else best
            received = [fresh(update_bytes) for _ in range(neighbours)]
            published = Saved(
                generation=2 * number + 1,
                round=number,
                stage="published",
                fingerprints=names,
                snapshot=trained,
                frame=bytes(600),
                update=update,
                evidence=evidence,
                local=local,
                standings=(),
                best=best,
            )
            members = tuple(
                MergeInput(
                    peer=str(index), name="", its_round=number, weight=0.1, update=one, evidence=evidence
                )
                for index, one in enumerate(received)
            )
            inputs = MergeInputs(peer="me", round=number, snapshot=trained, self_weight=0.7, members=members)
            snapshot = fresh(6 * update_bytes)
            beginning = Saved(
                generation=2 * number + 2,
                round=number + 1,
                stage="training",
                fingerprints=names,
                snapshot=snapshot,
                frame=bytes(600),
                update=None,
                evidence=None,
                local=None,
                standings=(),
                best=best,
            )
            if number == 1:
                before, account.changed, account.whole = _written(), 0, 0
            store.save(published)
            account.add(published, (trained, update, evidence, best))
            store.save(beginning)
            account.add(beginning, (snapshot, best))
            store.keep(inputs)
            account.add(inputs, (trained, evidence, *received))
        return _written() - before, account


def _written() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--neighbours", type=int, default=3)
    parser.add_argument("--update-kb", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    written, account = measured(options.rounds, options.neighbours, options.update_kb * 1000)
    if options.json:
        print(json.dumps({"written": written, "changed": account.changed, "whole": account.whole}))
        return
    each = 1000 * options.rounds
    print(
        f"a round writes {written / each:,.0f} kB for {account.changed / each:,.0f} kB that changed, "
        f"{written / account.changed:.2f} times; with all contents in every file "
        f"{account.whole / each:,.0f} kB, {account.whole / account.changed:.2f} times"
    )


if __name__ == "__main__":
    main()
