"""What a peer says that finds its own identity at work elsewhere, and then stops.

Two processes with one key announce different updates under the same round. Every peer that hears both bans the key, so
neither would merge with anybody again. The usual reason is a home that was copied to a second machine; the other one is
a home that was restored from an older copy, which is about to announce rounds for a second time.
"""

from __future__ import annotations


def doubled(round_: int) -> str:
    """For an announcement of this round that bears our signature and is not ours."""
    return (
        f"this peer's key announced round {round_}, and this home did not: a copy of the home runs elsewhere, or it "
        "was restored from an older copy. Keep one home only, and make a second peer with gossipllm init. If no other "
        f"runs, go on after that round with: gossipllm run DIR --after-round {round_}"
    )


def met_itself(where: str) -> str:
    """For a connection at whose other end is our own key. `where` is its address, empty if that is not known."""
    return (
        f"the peer at {where or 'the other end of a connection'} has this peer's key: a copy of this home runs there. "
        "Stop one of them; make a second peer with: gossipllm init"
    )
