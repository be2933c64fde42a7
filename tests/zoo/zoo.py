"""Tries every family of causal language models that transformers knows, and writes docs/pages/reference/models.md.

    python tests/zoo/zoo.py                       all families; goes on where it was stopped
    python tests/zoo/zoo.py --families llama,phi  these alone, again; the page is written if all others are known

Takes about ten minutes of one processor. The results so far are in build/zoo.json; those of another version of
transformers do not count. Ends with 1 where a family does what it must not.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "zoo.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--families", default="", metavar="NAMES", help="families to try again, with commas between"
    )
    parser.add_argument("--fresh", action="store_true", help="forget the results so far")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(ROOT / "tests"))
    warnings.filterwarnings("ignore")

    import msgspec
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    from support.zoo.examining import examined
    from support.zoo.table import PAGE, Outcome, page

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    families = list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    wanted = args.families.split(",") if args.families else families
    if unknown := set(wanted) - set(families):
        parser.error(
            f"transformers {transformers.__version__} has no causal family {', '.join(sorted(unknown))}"
        )
    known: dict[str, Outcome] = {}
    if RESULTS.exists() and not args.fresh:
        version, outcomes = msgspec.json.decode(RESULTS.read_bytes(), type=tuple[str, dict[str, Outcome]])
        known = outcomes if version == transformers.__version__ else {}
    for number, family in enumerate(wanted, start=1):
        if family in known and not args.families and not known[family].wrong:
            continue
        began = time.perf_counter()
        known[family] = examined(family)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_bytes(msgspec.json.encode((transformers.__version__, known)))
        print(
            f"{number}/{len(wanted)} {family}: {_short(known[family])} ({time.perf_counter() - began:.1f} s)",
            flush=True,
        )
    wrong = {name: known[name].wrong for name in families if name in known and known[name].wrong}
    for family, faults in wrong.items():
        for trial, fault in faults.items():
            print(f"WRONG {family}, {trial}: {fault}")
    if all(family in known for family in families):
        PAGE.write_text(page(known[family] for family in families), encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)}: {len(families)} families")
    return 1 if wrong else 0


def _short(outcome: object) -> str:
    from support.zoo.table import Outcome

    assert isinstance(outcome, Outcome), "the only kind of result"
    if outcome.not_made:
        return "not tried"
    if outcome.wrong:
        return f"WRONG in {', '.join(outcome.wrong)}"
    refused = [name for name, why in outcome.refused.items() if why]
    return f"refused {', '.join(refused)}" if refused else "works"


if __name__ == "__main__":
    raise SystemExit(main())
