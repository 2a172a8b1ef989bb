"""Finds a model by what the user calls it: a folder, an entry of the Hugging Face cache, or an id on the hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from ..errors import AuthenticationError, ConfigurationError, ModelNotFoundError, ProviderAPIError
from ..transport import HttpTransport, SyncDriver
from ..wire.call import Answer, Call, Plan, Timeouts
from .model_card import ModelCard, from_config, from_folder
from .safetensors_header import INDEX, LENGTH, Header, files_of, header_length, parse_header

_ID: Final = re.compile(r"^[\w.-]+/[\w.-]+$")
_TIMES: Final = Timeouts(connect=10.0, first_byte=20.0, idle=20.0, total=60.0)
_START: Final = 100_000
"""Bytes of a file of weights that are asked for at first; most headers fit."""
_HOPS: Final = 5


def find_model(name: str, environ: Mapping[str, str] = os.environ) -> ModelCard:
    """Finds a model and reads what a plan needs of it.

    Raises:
        ConfigurationError: It is not there, or can't be read.
        ProviderError: The hub was asked and did not deliver.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return from_folder(folder, name)
    if folder.is_file() and folder.name == "config.json":
        return from_folder(folder.parent, name)
    if name.startswith(".") or not _ID.match(name):  # no owner's name begins with a dot, but a path may
        raise ConfigurationError(
            f"there is no model {name!r}",
            why="it is no folder, and no id of the form owner/name",
            hint="give a folder with a config.json, or an id such as Qwen/Qwen2.5-7B-Instruct",
        )
    cached = cache_entry(name, environ)
    if cached is not None:
        return from_folder(cached, name, source="Hugging Face cache")
    if is_offline(environ):
        raise ConfigurationError(
            f"the model {name} is not in the Hugging Face cache",
            why=f"{cache_folder(environ)} has no snapshot of it, and HF_HUB_OFFLINE is set",
            hint="unset HF_HUB_OFFLINE, or give a folder",
        )
    with closing(HttpTransport()) as transport:
        return SyncDriver(transport).run(hub_plan(name, environ))


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether the user forbids asking the hub."""
    return any(
        environ.get(key, "").lower() in {"1", "true", "yes", "on"} for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where Hugging Face libraries keep models."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    base = environ.get("HF_HOME")
    if base:
        return Path(base).expanduser() / "hub"
    cache = environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "huggingface" / "hub"


def cache_entry(name: str, environ: Mapping[str, str]) -> Path | None:
    """The snapshot of a model in the cache: of the branch ``main``, else the latest one."""
    folder = cache_folder(environ) / f"models--{name.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        snapshots = [folder / "snapshots" / revision]
    except OSError:
        snapshots = []
    if (folder / "snapshots").is_dir():
        others = [path for path in (folder / "snapshots").iterdir() if path.is_dir()]
        snapshots += sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in snapshots if (path / "config.json").exists()), None)


def hub_plan(name: str, environ: Mapping[str, str]) -> Plan[ModelCard]:
    """Reads config.json and the headers of the weights from the hub; never the weights themselves.

    Raises:
        ConfigurationError: What came is broken.
        ProviderError: The hub did not deliver.
    """
    base = f"{environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')}/{name}/resolve/main"
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    config = yield from _json(f"{base}/config.json", token, name)
    if config is None:
        raise ModelNotFoundError(
            f"the hub has no config.json of {name}", provider="huggingface", model=name, status=404,
            hint="check the id; for a private model set HF_TOKEN",
        )  # fmt: skip
    quantization = None
    if "quantization_config" not in config:
        quantization = yield from _json(f"{base}/hf_quant_config.json", token, name)
    index = yield from _json(f"{base}/{INDEX}", token, name)
    files = ["model.safetensors"] if index is None else files_of(index, source=f"{base}/{INDEX}")
    header: Header = {}
    for file in files:
        part = yield from _header(f"{base}/{file}", token, name)
        if part is None:
            header = {}
            break
        header |= part
    how = "tensors read" if header else "config.json only"
    return from_config(name, config, header=header or None, quantization=quantization, source=f"hub, {how}")


def _json(url: str, token: str | None, name: str) -> Plan[Any]:
    answer = yield from _get(url, token, name, {})
    if answer is None:
        return None
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{url} is not JSON", why=str(error), hint="try again later") from error
    return found if isinstance(found, dict) else None


def _header(url: str, token: str | None, name: str) -> Plan[Header | None]:
    answer = yield from _get(url, token, name, {"range": f"bytes=0-{_START - 1}"})
    if answer is None:
        return None
    length = header_length(answer.body, source=url)
    text = answer.body[LENGTH:]
    if len(text) < length:
        more = yield from _get(url, token, name, {"range": f"bytes={LENGTH}-{LENGTH + length - 1}"})
        text = more.body if more else b""
    return parse_header(text[:length], source=url)


def _get(url: str, token: str | None, name: str, headers: dict[str, str]) -> Plan[Answer | None]:
    """A file, by way of the redirects that the hub answers with; ``None`` if there is no such file."""
    home = urlsplit(url)[:2]
    for _ in range(_HOPS):
        mine = dict(headers)
        if token and urlsplit(url)[:2] == home:  # the token is for the hub, not for where its files lie
            mine["authorization"] = f"Bearer {token}"
        answer: Answer = yield Call("GET", url, mine, timeouts=_TIMES, repeatable=True)
        if answer.status in {301, 302, 303, 307, 308} and "location" in answer.headers:
            url = urljoin(url, answer.headers["location"])
            continue
        if answer.status in {200, 206}:
            return answer
        if answer.status == 404:
            return None
        if answer.status in {401, 403}:
            raise AuthenticationError(
                f"the hub refuses {name}", provider="huggingface", model=name, status=answer.status,
                hint="accept the model's conditions on its page, and set HF_TOKEN",
            )  # fmt: skip
        break
    file = urlsplit(url).path.rsplit("/", 1)[-1]
    raise ProviderAPIError(
        f"the hub did not deliver {file} of {name}", provider="huggingface", model=name,
        status=answer.status, hint="try again, or give a folder",
    )  # fmt: skip
