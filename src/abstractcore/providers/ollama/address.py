"""The address of an Ollama server, in the forms in which people write it."""

from __future__ import annotations

from typing import Final

from ..endpoint import base_url_of

PORT: Final = 11434


def address_of(text: str) -> str:
    """The address of a server in the forms that ``OLLAMA_HOST`` may have, as Ollama's own clients read them.

    Without a scheme the port is 11434, else the scheme's own. A server's ``0.0.0.0`` or ``::`` is this machine.

    Raises:
        ConfigurationError: It is no address.
    """
    text = text.strip().rstrip("/")
    if text.startswith(("unix:", "http+unix:")):
        return base_url_of(text, "")
    scheme, mark, rest = text.rpartition("://")
    host, _, path = rest.partition("/")
    if host == "ollama.com" and not mark:
        scheme, mark = "https", "://"
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    name, _, port = host.rpartition(":") if ":" in host and not host.endswith("]") else (host, "", "")
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)  # noqa: S104 - as written there
    if not port and not mark:
        port = str(PORT)
    if path.rpartition("/")[2] in ("api", "v1"):  # what the protocols' own paths begin with
        path = path.rpartition("/")[0]
    return base_url_of(f"{scheme or 'http'}://{name}" + (f":{port}" if port else "") + (f"/{path}" if path else ""), "")
