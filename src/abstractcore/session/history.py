"""What was said in a conversation."""

from __future__ import annotations

from typing import Any, Final

from ..errors import ConfigurationError
from ..types import Message, ToolCall
from ..wire.openai import wire_message

_ROLES: Final = ("system", "user", "assistant", "tool")


class History:
    """The messages of a conversation, and its system prompt."""

    def __init__(self, system_prompt: str | None = None) -> None:
        self.system_prompt = system_prompt
        self.summary: str | None = None
        """What stands for the messages that ``compact`` took away; it goes along with the system prompt."""
        self._messages: list[Message] = []

    def add_message(
        self,
        role: str,
        content: str | list[dict[str, Any]],
        *,
        name: str | None = None,
        tool_calls: list[ToolCall] | None = None,
        tool_call_id: str | None = None,
    ) -> Message:
        """Adds a message without asking the model.

        Args:
            role: ``system``, ``user``, ``assistant`` or ``tool``.
            content: Text, or content parts in OpenAI's form.
            name: Who says it, where a backend tells people apart.
            tool_calls: What an assistant's message calls.
            tool_call_id: The call that a tool's message is the result of.

        Raises:
            ConfigurationError: There is no such role, or the result of a tool names no call.
        """
        if role not in _ROLES:
            raise ConfigurationError(f"there is no role {role!r}", hint=f"it is one of {', '.join(_ROLES)}")
        if role == "tool" and tool_call_id is None:
            raise ConfigurationError("the result of a tool needs the tool_call_id of its call")
        message = Message(role, content, name, tool_calls, tool_call_id)
        self._messages.append(message)
        return message

    def get_messages(self) -> list[Message]:
        """All messages, in order; without the system prompt, which is an attribute."""
        return list(self._messages)

    def get_history(self, *, include_system: bool = True) -> list[dict[str, Any]]:
        """The same in OpenAI's form, the system prompt first."""
        messages = [wire_message(message) for message in self._messages]
        if include_system and self.system_prompt:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        return messages if include_system else [message for message in messages if message["role"] != "system"]

    def clear_history(self) -> None:
        """Forgets what was said, and its summary; system prompt, tools and options stay."""
        self._messages = []
        self.summary = None

    def __len__(self) -> int:
        return len(self._messages)

    def __bool__(self) -> bool:
        return True

    def _unanswered(self) -> list[ToolCall]:
        answered: set[str | None] = set()
        for message in reversed(self._messages):
            if message.role == "tool":
                answered.add(message.tool_call_id)
            elif message.role == "assistant":
                return [call for call in message.tool_calls or () if call.call_id not in answered]
        return []
