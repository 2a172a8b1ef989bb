"""For tests of code that uses abstractcore: no network, no model.

``FakeServer`` answers from a script; ``Recorder`` writes down what a real server answers, and ``Replay`` answers from
that.
"""

from .fake_server import Answers, FakeAsyncTransport, FakeServer, FakeTransport, Reply
from .recordings import Recorder, Replay, UnrecordedRequestError, read_recording

__all__ = [
    "Answers",
    "FakeAsyncTransport",
    "FakeServer",
    "FakeTransport",
    "Recorder",
    "Replay",
    "Reply",
    "UnrecordedRequestError",
    "read_recording",
]
