"""``abstractcore chat``: a conversation at the terminal."""

from __future__ import annotations

from .command import chat

__all__ = ["chat"]
