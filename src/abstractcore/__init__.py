"""One interface for language models; constraints on the output are enforced by the server and proved here.

The public names are loaded when first used, so that ``import abstractcore`` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's; importing typing would cost more than all the rest here
if TYPE_CHECKING:
    from typing import Any, Final

    from .constraint import Choice, Grammar, JsonSchema, Regex
    from .errors import (
        AbstractCoreError,
        AdapterError,
        AuthenticationError,
        ConfigurationError,
        ConnectionFailedError,
        ConstraintViolationError,
        ContextLengthError,
        DeployError,
        InvalidConstraintError,
        InvalidRequestError,
        MissingExtraError,
        ModelNotFoundError,
        ProviderAPIError,
        ProviderError,
        RateLimitError,
        RequestTimeoutError,
        ServerNotReadyError,
        ServerOverloadedError,
        SessionError,
        StepLimitError,
        StreamInterruptedError,
        ToolCallError,
        TruncatedOutputError,
        UnsupportedFeatureError,
    )
    from .factory import create_llm
    from .providers import VLLMProvider
    from .providers.batch import BatchItem, BatchProgress, BatchResult
    from .session import BasicSession, Session
    from .structural_tag import StructuralTag
    from .tools import ToolDefinition, tool
    from .types import Adapter, GenerateResponse, Message, ModelInfo, ToolCall, Usage
    from .wire.call import Timeouts

__version__: Final = "2.6.4"

__all__ = [
    "AbstractCoreError",
    "Adapter",
    "AdapterError",
    "AuthenticationError",
    "BasicSession",
    "BatchItem",
    "BatchProgress",
    "BatchResult",
    "Choice",
    "ConfigurationError",
    "ConnectionFailedError",
    "ConstraintViolationError",
    "ContextLengthError",
    "DeployError",
    "GenerateResponse",
    "Grammar",
    "InvalidConstraintError",
    "InvalidRequestError",
    "JsonSchema",
    "Message",
    "MissingExtraError",
    "ModelInfo",
    "ModelNotFoundError",
    "ProviderAPIError",
    "ProviderError",
    "RateLimitError",
    "Regex",
    "RequestTimeoutError",
    "ServerNotReadyError",
    "ServerOverloadedError",
    "Session",
    "SessionError",
    "StepLimitError",
    "StreamInterruptedError",
    "StructuralTag",
    "Timeouts",
    "ToolCall",
    "ToolCallError",
    "ToolDefinition",
    "TruncatedOutputError",
    "UnsupportedFeatureError",
    "Usage",
    "VLLMProvider",
    "__version__",
    "create_llm",
    "tool",
]

_MODULE_OF: Final = {
    "create_llm": "factory",
    "VLLMProvider": "providers",
    "StructuralTag": "structural_tag",
    "Timeouts": "wire.call",
    **dict.fromkeys(("BasicSession", "Session"), "session"),
    **dict.fromkeys(("BatchItem", "BatchProgress", "BatchResult"), "providers.batch"),
    **dict.fromkeys(("Adapter", "GenerateResponse", "Message", "ModelInfo", "ToolCall", "Usage"), "types"),
    **dict.fromkeys(("ToolDefinition", "tool"), "tools"),
    **dict.fromkeys(("Choice", "Grammar", "JsonSchema", "Regex"), "constraint"),
}
"""Where a public name is defined; the rest are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULE_OF.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
