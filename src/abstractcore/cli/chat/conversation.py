"""One conversation: whom one talks to, what was said, how the next answer is to be. No terminal here."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ...errors import ModelNotFoundError
from ...session import Session
from ...types import GenerateResponse
from .status import Figures, Status, figures_of

if TYPE_CHECKING:
    from ...providers import Provider

GUIDED: Final[Mapping[str, str]] = {
    kind: f"guided_{kind}" for kind in ("json", "regex", "choice", "grammar", "structural_tag")
}
"""The options of ``generate`` that hold an answer to something, by their kind."""
ADAPTER: Final = "model"
"""The option that names the adapter: it stands among the session's, so that it is saved with them."""


class Conversation:
    """A session and all that commands change.

    Args:
        llm: Whom to talk to.
        options: Options of ``generate`` for all answers.
        stream: Hand answers out while they are generated.
    """

    def __init__(self, llm: Provider, options: Mapping[str, Any], *, stream: bool) -> None:
        self.session = Session(llm, **options)
        self.stream = stream
        self.figures = Figures()
        self.context_length: int | None = None

    @property
    def llm(self) -> Provider:
        """Whom one talks to."""
        return self.session.llm

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``generate`` for all answers."""
        return self.session.options

    @property
    def adapter(self) -> str | None:
        """The adapter that answers in the place of its model."""
        return self.options.get(ADAPTER)

    @property
    def constraint(self) -> str | None:
        """The kind of what answers are held to."""
        return next((kind for kind, name in GUIDED.items() if name in self.options), None)

    def meet(self) -> None:
        """Finds out which model answers, and how much it holds.

        Raises:
            ProviderError: Nobody answers, the model is not served, or none was named and there are several.
        """
        self.rename(self.llm.model)

    def rename(self, model: str | None) -> None:
        """Goes on with another model of the same provider; its adapters are others.

        Raises:
            ProviderError: It is not served; all is as it was.
        """
        found = self.llm.model_info(model)
        if model != self.llm.model:
            self.options.pop(ADAPTER, None)
            self.figures = Figures()
        self.llm.model = model or found.id
        self.context_length = found.context_length

    def talk_to(self, llm: Provider) -> None:
        """Goes on with another provider.

        Raises:
            ProviderError: It does not answer; all is as it was.
        """
        found = llm.model_info()
        llm.model = llm.model or found.id
        self.llm.close()
        self.session.llm = llm
        self.options.pop(ADAPTER, None)
        self.figures, self.context_length = Figures(), found.context_length

    def close(self) -> None:
        """Lets go of whom one talks to."""
        self.llm.close()

    def ask(self, text: str) -> Generator[GenerateResponse]:
        """The chunks of an answer, or the whole of it; closing the generator aborts it on the server.

        Raises:
            AbstractCoreError: As ``generate``; the conversation is as it was.
        """
        if not self.stream:
            answer = self.session.generate(text)
            self.figures = figures_of(answer)
            yield answer
            return
        with self.session.generate(text, stream=True) as chunks:
            for chunk in chunks:
                if chunk.finish_reason is not None:
                    self.figures = figures_of(chunk)
                yield chunk

    def forget(self) -> int:
        """Forgets what was said; how many messages that were."""
        count = len(self.session)
        self.session.clear_history()
        self.figures = Figures()
        return count

    def resume(self, session: Session) -> None:
        """Goes on with another session; who is asked stays."""
        session.llm = self.llm
        self.session, self.figures = session, Figures()

    def hold_to(self, kind: str | None, value: Any = None) -> None:
        """Holds the next answers to a constraint, or to none."""
        for name in GUIDED.values():
            self.options.pop(name, None)
        if kind is not None:
            self.options[GUIDED[kind]] = value

    def set(self, name: str, value: Any) -> None:
        """Sets an option for the next answers, or leaves it to the server if the value is ``None``."""
        self.options.pop(name, None)
        if value is not None:
            self.options[name] = value

    def status(self) -> Status:
        """What the status line says."""
        return Status(
            self.llm.provider, self.llm.model, self.adapter, self.constraint, self.context_length, self.figures
        )

    def where(self) -> str:
        """Where the model is."""
        address = getattr(self.llm, "base_url", "")
        version = self._version()
        name = f"{self.llm.provider} {version}" if version else self.llm.provider
        return f"{name} in this process" if not address or address.startswith("local:") else f"{name} at {address}"

    def _version(self) -> str | None:
        ask = getattr(self.llm, "server_version", None)
        return ask() if ask else None

    def introduction(self) -> str:
        """Whom one talks to, in a line."""
        if self.llm.model is None:
            return self.where()
        length = f", {self.context_length} tokens of context" if self.context_length else ""
        return f"{self.where()}: {self.llm.model}{length}"


def advice(error: Exception) -> str | None:
    """What to do about an error here, where the library's own hint speaks of calls in Python."""
    from ...errors import ContextLengthError, TruncatedOutputError

    if isinstance(error, ContextLengthError):
        return "/compact has the older messages summed up, /clear forgets all of them, /tokens shortens answers"
    if isinstance(error, TruncatedOutputError):
        return "/tokens with a higher number, or a constraint that comes to an end; /guided off for none"
    if isinstance(error, ModelNotFoundError) and error.available:
        return f"/model NAME; served here: {', '.join(error.available)}"
    return None
