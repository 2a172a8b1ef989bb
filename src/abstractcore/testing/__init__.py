"""For tests of code that uses abstractcore: no network, no model.

``EchoProvider`` stands for a whole backend; ``FakeServer`` for a server, to which a provider of any kind talks;
``Recorder`` writes down what a real server answers, and ``Replay`` answers from that.
"""

from .echo import EchoProvider, Script, Scripted, substituted
from .fake_server import Answers, FakeAsyncTransport, FakeServer, FakeTransport, Reply
from .recordings import Recorder, Replay, UnrecordedRequestError, read_recording
from .specimen import specimen

__all__ = [
    "Answers",
    "EchoProvider",
    "FakeAsyncTransport",
    "FakeServer",
    "FakeTransport",
    "Recorder",
    "Replay",
    "Reply",
    "Script",
    "Scripted",
    "UnrecordedRequestError",
    "read_recording",
    "specimen",
    "substituted",
]
