"""``/model`` and ``/adapter``: who answers."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, Protocol, cast

from ...capability import Capability, Support
from ...errors import AdapterError, ConfigurationError, ModelNotFoundError
from .conversation import ADAPTER

if TYPE_CHECKING:
    from ...providers import Provider
    from ...types import Adapter, ModelInfo
    from .conversation import Conversation

ADAPTER_USAGE = "/adapter list | use NAME | off | load NAME PATH | unload NAME"


class _Adapters(Protocol):
    """What providers with adapters have."""

    def load_adapter(self, name: str, path: str) -> str: ...
    def unload_adapter(self, name: str) -> str: ...
    def list_adapters(self) -> list[Adapter]: ...


# --- models ----------------------------------------------------------------------------------------------------------


def model(conversation: Conversation, argument: str) -> str:
    """Lists the models, or goes on with another one; the conversation stays."""
    rows = conversation.llm.list_models()
    if not argument:
        return _listed(rows, conversation)
    found = next((row for row in rows if row.id == argument), None)
    if found is not None and found.parent is not None:
        return use(conversation, argument)
    _go_on_with(conversation, argument, rows, is_listed=found is not None)
    return f"going on with {conversation.introduction()}"


def _go_on_with(conversation: Conversation, name: str, rows: list[ModelInfo], *, is_listed: bool) -> None:
    from ...factory import create_llm
    from ...providers import get_provider_info, is_provider_available

    llm = conversation.llm
    backend, _, rest = name.partition("/")
    if not is_listed and rest and backend == llm.provider:
        _go_on_with(conversation, rest, rows, is_listed=any(row.id == rest for row in rows))
    elif not is_listed and rest and is_provider_available(backend):
        conversation.talk_to(create_llm(backend, rest))
    elif not is_listed and not _is_known(llm, name):
        raise _not_served(llm, name, [row.id for row in rows])
    elif is_provider_available(llm.provider) and get_provider_info(llm.provider).in_process:
        conversation.talk_to(create_llm(llm.provider, name))
    else:
        conversation.rename(name)


def _is_known(llm: Provider, name: str) -> bool:
    """Whether the backend knows a model that it doesn't list: some have aliases."""
    try:
        llm.model_info(name)
    except ModelNotFoundError:
        return False
    return True


def _not_served(llm: Provider, name: str, served: list[str]) -> ModelNotFoundError:
    near = difflib.get_close_matches(name, served, 1)
    return ModelNotFoundError(
        f"{name!r} is not served",
        provider=llm.provider,
        model=name,
        why=f"served are: {', '.join(served) or 'none'}",
        hint=f"/model {near[0]}" if near else "/model lists what is served",
    )


def _listed(rows: list[ModelInfo], conversation: Conversation) -> str:
    asked = conversation.adapter or conversation.llm.model
    width = max((len(row.id) for row in rows), default=0)
    lines = []
    for row in rows:
        context = f"{row.context_length} tokens" if row.context_length else ""
        parent = f"adapter of {row.parent}" if row.parent else ""
        mark = "*" if row.id == asked else " "
        lines.append("  ".join(filter(None, (f"{mark} {row.id:<{width}}", context, parent))).rstrip())
    return "\n".join(lines) or "nothing is served"


# --- adapters --------------------------------------------------------------------------------------------------------


def adapter(conversation: Conversation, argument: str) -> str:
    """Lists, uses, loads and unloads adapters."""
    words = _words(argument) or ["list"]
    action, *rest = words
    match action, rest:
        case "list", []:
            return _list(conversation)
        case "use", [name]:
            return use(conversation, name)
        case "off", []:
            conversation.options.pop(ADAPTER, None)
            return f"{conversation.llm.model} answers itself"
        case "load", [name, path]:
            return _adapters(conversation).load_adapter(name, path) + f"; /adapter use {name}"
        case "unload", [name]:
            said = _adapters(conversation).unload_adapter(name)
            return said + _dropped(conversation, name)
    near = difflib.get_close_matches(action, ["list", "use", "off", "load", "unload"], 1)
    hint = f"did you mean /adapter {near[0]}? {ADAPTER_USAGE}" if near and near[0] != action else ADAPTER_USAGE
    raise ConfigurationError(f"/adapter {argument}: that is no way to write it", hint=hint)


def use(conversation: Conversation, name: str) -> str:
    """Lets an adapter answer.

    Raises:
        AdapterError: It is not loaded.
    """
    loaded = [str(row) for row in _adapters(conversation).list_adapters()]
    if name not in loaded:
        near = difflib.get_close_matches(name, loaded, 1)
        raise AdapterError(
            f"the adapter {name!r} is not loaded",
            provider=conversation.llm.provider,
            model=name,
            why=f"loaded are: {', '.join(loaded) or 'none'}",
            hint=f"/adapter use {near[0]}" if near else f"/adapter load {name} PATH",
        )
    conversation.options[ADAPTER] = name
    return f"{name} answers, an adapter of {conversation.llm.model}"


def _list(conversation: Conversation) -> str:
    rows = _adapters(conversation).list_adapters()
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{'*' if row == conversation.adapter else ' '} {row.name:<{width}}  {row.path or ''}" for row in rows]
    return "\n".join(lines) or "no adapter is loaded; /adapter load NAME PATH"


def _dropped(conversation: Conversation, name: str) -> str:
    if conversation.adapter != name:
        return ""
    del conversation.options[ADAPTER]
    return f"; {conversation.llm.model} answers itself"


def _adapters(conversation: Conversation) -> _Adapters:
    """The provider, if it has adapters.

    Raises:
        UnsupportedFeatureError: It has none.
    """
    from ...providers.promises import refusal

    llm = conversation.llm
    if llm.capabilities()[Capability.MULTI_LORA] is Support.UNSUPPORTED:
        raise refusal(llm.provider, Capability.MULTI_LORA)
    return cast("_Adapters", llm)


def _words(argument: str) -> list[str]:
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise ConfigurationError(f"/adapter {argument}: {error}", hint=ADAPTER_USAGE) from error
