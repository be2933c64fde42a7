"""A chat session: each prompt goes to the base, the adapter or both, and answers are shown while they are generated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gossipllm.chat.answering import ChatAnswer, ChatModel, Sampling
from gossipllm.chat.conversation import Conversation
from gossipllm.chat.decoding import printable
from peers.commands.chat.voices import Voice, Voices
from trust.names import escaped

HELP: Final = """\
/adapter  answer with what was learned
/base     answer without it
/reset    forget what was said
/help     this list
Ctrl-C    stop an answer; at the prompt: leave
Ctrl-D    leave"""


@dataclass(frozen=True, slots=True)
class SpokenAnswer:
    """An answer, its voice, and whether older text was cut from the prompt to make room."""

    by: Voice
    answer: ChatAnswer
    cut: bool


class Screen(Protocol):
    """The output of a chat session. The text that it gets is safe for a terminal."""

    def write(self, piece: str) -> None: ...

    def note(self, line: str) -> None:
        """Show a remark about the conversation."""
        ...

    def heading(self, line: str) -> None: ...


class ChatSession:
    """A conversation with the voices of `speaking`. With two voices, each has its own thread of messages."""

    def __init__(
        self, voices: Voices, screen: Screen, *, sampling: Sampling, speaking: tuple[Voice, ...], plain: bool
    ) -> None:
        self._voices = voices
        self._screen = screen
        self._sampling = sampling
        self._speaking = speaking
        self._model = ChatModel(voices.base)
        self._threads = {voice: Conversation(voices.base, plain=plain) for voice in speaking}
        self._both = len(speaking) > 1
        self._number = 0
        self._told: set[str] = set()
        if not self.templated and not plain:
            self._once("this model has no chat template, so it continues your text")

    @property
    def templated(self) -> bool:
        return all(thread.templated for thread in self._threads.values())

    def answers(self, prompt: str) -> list[SpokenAnswer]:
        """The answer of each voice to `prompt`. Ctrl-C ends the current answer and is raised again."""
        said = [self._answer(voice, prompt) for voice in self._speaking]
        self._number += 1
        return said

    def forget(self) -> None:
        for thread in self._threads.values():
            thread.reset()

    def talk(self, read: Callable[[], str]) -> None:
        """Answer lines until `read` raises `EOFError`, at the end of the input. Ctrl-C during `read` is raised."""
        while True:
            try:
                line = read()
            except EOFError:
                return
            if line.strip().startswith("/"):
                self._obey(line.strip())
            elif line.strip():
                try:
                    self.answers(line)
                except KeyboardInterrupt:
                    self._screen.write("\n")
                    self._screen.note("stopped")

    def each(self, prompts: Iterable[str]) -> Iterable[tuple[str, list[SpokenAnswer]]]:
        """Answer independent prompts; empty ones are skipped."""
        for prompt in prompts:
            if prompt.strip():
                self.forget()
                yield prompt, self.answers(prompt)

    def _answer(self, voice: Voice, text: str) -> SpokenAnswer:
        self._voices.take(voice)
        if self._both:
            self._screen.heading(self._name(voice))
        thread = self._threads[voice]
        thread.ask(text)
        writer = _Writer(self._screen.write, stripped=thread.templated)
        try:
            context = self._voices.base.context_length
            prompt = thread.prompt(context - self._sampling.new_tokens)
            if prompt.cut:
                self._once(f"the model takes {context} tokens: the oldest text falls out")
            answer = self._model.answer(prompt.tokens, self._sampling, self._number, writer.write)
        finally:
            # An answer that was stopped is part of the conversation too.
            thread.answered(writer.text)
        self._screen.write("\n")
        return SpokenAnswer(voice, replace(answer, text=writer.text), prompt.cut)

    def _obey(self, command: str) -> None:
        match command:
            case "/help":
                self._screen.note(HELP)
            case "/reset":
                self.forget()
                self._screen.note("forgotten")
            case "/base" | "/adapter":
                self._switch("base" if command == "/base" else "adapter")
            case _:
                self._screen.note(f"there is no {escaped(command, 40)}; /help lists what there is")

    def _switch(self, voice: Voice) -> None:
        if self._both:
            self._screen.note("both answer already")
        elif voice == "adapter" and self._voices.learned is None:
            self._screen.note("there is no adapter here, only a base")
        else:
            # The conversation goes on, with another voice.
            self._threads = {voice: self._threads[self._speaking[0]]}
            self._speaking = (voice,)
            self._screen.note(f"{self._name(voice)} answers now")

    def _name(self, voice: Voice) -> str:
        if voice == "base" or self._voices.learned is None:
            return "base"
        return escaped(self._voices.learned.name, 40)

    def _once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._screen.note(line)


class _Writer:
    """Writes pieces of an answer, made printable; `stripped` drops the space that templates put before an answer."""

    def __init__(self, write: Callable[[str], None], *, stripped: bool) -> None:
        self._write = write
        self._stripped = stripped
        self.text = ""

    def write(self, piece: str) -> None:
        if self._stripped and not self.text:
            piece = piece.lstrip()
        if piece:
            self.text += piece
            self._write(printable(piece))
