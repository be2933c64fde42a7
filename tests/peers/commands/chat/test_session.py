"""A session: what is typed, what is obeyed, and what the other voice says to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gossipllm.chat.answering import Sampling
from gossipllm.config import AdapterConfig
from gossipllm.config.choices import Train
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.model.adapter.source import AdapterSource
from gossipllm.model.loading.models import Base
from peers.commands.chat.session import ChatSession
from peers.commands.chat.voices import Voice, Voices, voices
from support.screens import RememberingScreen

GREEDY = Sampling(temperature=0, new_tokens=8)


@pytest.fixture
def two(base: Base, learned: Callable[..., bytes], tmp_path: Path) -> Iterator[Voices]:
    snapshot = decode_snapshot(learned(AdapterConfig(rank=2, alpha=4.0)))
    with voices(base, AdapterSource(tmp_path / "anna", snapshot)) as made:
        yield made


@pytest.fixture
def alone(base: Base) -> Iterator[Voices]:
    with voices(base, None) as made:
        yield made


def session(made: Voices, screen: Any, *speaking: Voice, sampling: Sampling = GREEDY) -> ChatSession:
    return ChatSession(made, screen, sampling=sampling, speaking=speaking, plain=True)


def typed(*lines: str) -> Callable[[], str]:
    """Someone who types these, and then Ctrl-D."""
    left = iter(lines)

    def read() -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read


def test_base_and_adapter_answer_the_same_prompt_differently(two: Voices, screen: RememberingScreen) -> None:
    base, adapter = session(two, screen, "base", "adapter").answers("The system")

    assert screen.headings == ["base", "anna"]
    assert (base.by, adapter.by) == ("base", "adapter")
    assert base.answer.text != adapter.answer.text
    assert screen.written == f"{base.answer.text}\n{adapter.answer.text}\n"


def test_the_base_is_as_it_was_after_the_adapter_spoke(two: Voices, screen: RememberingScreen) -> None:
    (before,) = session(two, screen, "base").answers("The system")
    session(two, screen, "adapter").answers("The system")
    (after,) = session(two, screen, "base").answers("The system")

    assert before.answer.text == after.answer.text


def test_the_voice_changes_within_a_conversation(two: Voices, screen: RememberingScreen) -> None:
    session(two, screen, "adapter").talk(typed("The system", "/base", "and", "/adapter", "so"))

    assert screen.notes == ["base answers now", "anna answers now"]


def test_commands_are_obeyed_and_unknown_ones_named(alone: Voices, screen: RememberingScreen) -> None:
    session(alone, screen, "base").talk(typed("/help", "/reset", "", "/sing\x1b[2J", "/adapter"))

    assert "/reset" in screen.notes[0]
    assert screen.notes[1:] == [
        "forgotten",
        "there is no /sing\\x1b[2J; /help lists what there is",
        "there is no adapter here, only a base",
    ]
    assert not screen.written


def test_what_was_said_is_remembered_until_a_reset(alone: Voices, screen: RememberingScreen) -> None:
    talking = session(alone, screen, "base")
    (first,) = talking.answers("word " * 150)
    (second,) = talking.answers("word " * 150)
    talking.forget()
    (anew,) = talking.answers("word " * 150)

    assert (first.cut, second.cut, anew.cut) == (False, True, False)


def test_prompts_of_a_pipe_have_nothing_to_do_with_each_other(
    alone: Voices, screen: RememberingScreen
) -> None:
    found = list(session(alone, screen, "base").each(["The system", "", "The system"]))

    assert [prompt for prompt, _ in found] == ["The system"] * 2
    assert found[0][1][0].answer.text == found[1][1][0].answer.text


def test_ctrl_c_stops_an_answer_and_the_session_goes_on(alone: Voices, screen: RememberingScreen) -> None:
    talking = session(alone, screen, "base")
    write, pieces = screen.write, 0

    def interrupted(piece: str) -> None:
        nonlocal pieces
        pieces += 1
        write(piece)
        if pieces == 2:
            raise KeyboardInterrupt

    screen.write = interrupted
    talking.talk(typed("The system", "and"))

    assert screen.notes == ["stopped"]
    assert pieces > 4  # the second prompt was answered


def test_that_old_text_falls_out_is_said_once(alone: Voices, screen: RememberingScreen) -> None:
    talking = session(alone, screen, "base")
    said = [one for _ in range(3) for one in talking.answers("word " * 300)]

    assert len(said) == 3
    assert said[-1].cut
    assert screen.notes == ["the model takes 256 tokens: the oldest text falls out"]


def test_a_model_that_writes_escapes_moves_no_cursor(
    alone: Voices, screen: RememberingScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    talking = session(alone, screen, "base")

    def decoded(tokens: Sequence[int]) -> str:
        return "\x1b[2J" * len(tokens)

    monkeypatch.setattr(talking._model, "_decoded", decoded)

    (said,) = talking.answers("The system")

    assert "\x1b" not in screen.written
    assert "\\x1b[2J" in screen.written
    assert "\x1b[2J" in said.answer.text  # for programs, which get it in JSON


@pytest.mark.parametrize("train", ["both", "b", "heads", "full"])
def test_adapters_of_every_kind_speak(
    train: Train, base: Base, learned: Callable[..., bytes], screen: RememberingScreen, tmp_path: Path
) -> None:
    data = learned(AdapterConfig(rank=2, alpha=4.0, train=train))
    with voices(base, AdapterSource(tmp_path / "anna", decode_snapshot(data))) as made:
        own, other = session(made, screen, "base", "adapter").answers("The system")

    assert own.answer.text != other.answer.text
