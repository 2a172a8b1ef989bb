"""What programs of the machine print: container engines, NVIDIA's tools, the environment."""

from __future__ import annotations

import json
import sys
from typing import Final

from abstractcore.deploy import nvidia_smi
from abstractcore.deploy.allowances import parse_size
from abstractcore.deploy.differences import differences
from abstractcore.deploy.engine import Engine, Reply
from abstractcore.deploy.hardware import from_driver, parse_gpus, read_topology
from abstractcore.deploy.inspected import read_container, read_image
from abstractcore.deploy.lifecycle.canary import ask_for_a_token
from abstractcore.deploy.lifecycle.record import from_data
from abstractcore.errors import ConfigurationError, DeployError
from abstractcore.transport.route import Router

from .files import TESTS
from .target import Target

FOLDER: Final = TESTS / "recordings" / "engine"
PLANNED: Final = from_data(json.loads((FOLDER / "private.json").read_bytes())["deployment"])


class Printing(Engine):
    """An engine that prints the same whatever it is asked."""

    def __init__(self, said: bytes) -> None:
        super().__init__("docker", {})
        self._said = tuple(said.decode("utf-8", "replace").splitlines())

    def ask(self, *arguments: str, **rest: object) -> Reply:
        return Reply(0, self._said)


def _container(data: bytes) -> None:
    document = Printing(data).inspect("x")
    if document is not None:
        differences(PLANNED.server, read_container(document))


def _image(data: bytes) -> None:
    document = Printing(data).image("x")
    if document is not None:
        read_image(document)


def _nvidia(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for card in from_driver(nvidia_smi.parse_gpus(text.splitlines())):
        assert card.total >= 0
    assert read_topology(text) in ("nvlink", "pcie")


def _words(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    refused = None
    for read in (parse_gpus, parse_size):
        try:
            read(text)
        except ConfigurationError as error:
            refused = error
    if refused:
        raise refused


def _proxy(data: bytes) -> None:
    proxy, _, url = data.decode("utf-8", "replace").partition("\n")
    environ = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "h.test, 10.0.0.0/8"}
    route = Router(environ).find(url or "http://example.org/v1")
    assert "\n" not in route.target


def _inspects() -> list[bytes]:
    found = []
    for kind in ("host", "host-cpu", "private", "sealed"):
        for row in json.loads((FOLDER / f"{kind}.json").read_bytes())["containers"]:
            kept = {name: row[name] for name in row if name not in ("GraphDriver", "HostnamePath", "LogPath")}
            found.append(json.dumps(kept).encode())
    return found


def _images() -> list[bytes]:
    return [json.dumps(row).encode() for row in json.loads((FOLDER / "image.json").read_bytes())["images"]]


def _canary(data: bytes) -> None:
    found = ask_for_a_token(Printing(data), PLANNED.server, "m", limit=1.0)
    str((found, found.answers))


TARGETS: Final = (
    Target("inspect", "docker inspect, of a container", _container, (DeployError,), _inspects),
    Target("inspect-image", "docker inspect, of an image", _image, (DeployError,), _images),
    Target(
        "info",
        "docker info",
        lambda data: Printing(data).info(),
        (DeployError,),
        lambda: [b'WARNING: x\n{"ServerVersion":"29","Runtimes":{"runc":{}}}', b'{"ServerErrors":["no"]}'],
    ),
    Target(
        "canary",
        "what the probe inside a container prints",
        _canary,
        (DeployError,),
        lambda: [b'{"health":200,"status":200,"seconds":0.1,"said":"hi"}'],
    ),
    Target(
        "nvidia-smi",
        "nvidia-smi's rows and topology",
        _nvidia,
        (),
        lambda: [
            b"0, NVIDIA L4, 8.9, 23034, 22565\n1, NVIDIA H100 80GB HBM3, 9.0, 81559, 81000\n",
            b"\tGPU0\tGPU1\nGPU0\t X \tNV12\nGPU1\tNV12\t X \n",
            b"No devices were found\n",
        ],
    ),
    Target(
        "gpus",
        "GPUs and sizes as people write them",
        _words,
        (ConfigurationError,),
        lambda: [b"4xL4", b"2xNEW@47.5GiB/9.0", b"1xH100,1xL4", b"cpu", b"2xV100-16GB", b"16g", b"512MiB"],
        ("\u0663x".encode(), b"9" * 400 + b"x", b"@", b"/8.9", b"GiB", str(sys.maxsize).encode()),
    ),
    Target(
        "proxy",
        "addresses, of servers and of proxies",
        _proxy,
        (ConfigurationError,),
        lambda: [
            b"http://u:pass@proxy:3128\nhttps://api.test/v1?x=1",
            b"proxy:1\nhttp://[::1]:8000/v1",
            b"\nhttp+unix://%2Frun%2Fv.sock/v1",
            b"socks5://p:1\nhttp://h",
        ],
        (b"http://[", b"]", b"@", b"%00", b"xn--", b":99999", "\u00e4.test".encode(), b"http://[::1%25]/"),
    ),
)
