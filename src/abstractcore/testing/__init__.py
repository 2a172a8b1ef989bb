"""For tests of code that uses abstractcore: no network, no model.

``FakeServer`` answers from a script.
"""

from .fake_server import Answers, FakeAsyncTransport, FakeServer, FakeTransport, Reply

__all__ = ["Answers", "FakeAsyncTransport", "FakeServer", "FakeTransport", "Reply"]
