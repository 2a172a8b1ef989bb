"""A model's tokenizer: prompts to tokens by the model's own chat template, tokens to text, and guided decoding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .engine import EngineError

if TYPE_CHECKING:
    from llguidance import LLTokenizer


class ModelTokenizer:
    """The tokenizer of one model.

    Args:
        tokenizer: One of transformers'.
        vocabulary: How many scores the model gives; often more than the tokenizer has tokens.
        ends: The tokens that end an answer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        own = tokenizer.eos_token_id
        self.ends = ends | ({own} if own is not None else frozenset())

    def encode(self, body: Mapping[str, Any]) -> list[int]:
        """The tokens of a request's prompt.

        Raises:
            EngineError: The chat template refuses the messages, or there is none.
        """
        if "messages" in body:
            return self._chat(body["messages"], body.get("chat_template_kwargs") or {})
        return list(self._tokenizer(body["prompt"]).input_ids)

    def _chat(self, messages: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> list[int]:
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise EngineError("this model has no chat template: it takes a raw prompt only (raw_prompt=True)")
        plain = [{**message, "content": plain_text(message.get("content"))} for message in messages]
        try:
            return list(
                self._tokenizer.apply_chat_template(plain, add_generation_prompt=True, return_dict=False, **extra)
            )
        except TemplateError as error:
            raise EngineError(f"the model's chat template refuses the messages: {error}", param="messages") from error

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def spell(self, token: int) -> str:
        """One token as it reads by itself, special ones too."""
        return str(self._tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @cached_property
    def for_guiding(self) -> LLTokenizer:
        """The vocabulary as llguidance needs it; takes half a second once.

        Raises:
            EngineError: The tokenizer is not one that it knows.
        """
        from llguidance import LLTokenizer

        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise EngineError(f"guided decoding needs a fast tokenizer; this one is {type(self._tokenizer).__name__}")
        document = json.loads(backend.to_str())
        document["padding"] = document["truncation"] = None  # they would cut texts
        return LLTokenizer(json.dumps(document), n_vocab=self._vocabulary, eos_token=sorted(self.ends))


def plain_text(content: Any) -> Any:
    """Content parts as one text: chat templates of language models know nothing else."""
    if not isinstance(content, list):
        return content or ""
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")
