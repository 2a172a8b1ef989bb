"""A conversation with a model that remembers: its history, saved and loaded, shortened when it grows too long."""

from __future__ import annotations

from .session import BasicSession, Session
from .stream import AsyncSessionStream, SessionStream

__all__ = ["AsyncSessionStream", "BasicSession", "Session", "SessionStream"]
