"""Many prompts at once: all that the server can take, refilled as items end, resumable after a crash."""

from __future__ import annotations

from .calls import BatchCalls
from .items import BatchItem, BatchProgress, BatchResult

__all__ = ["BatchCalls", "BatchItem", "BatchProgress", "BatchResult"]
