"""LM Studio: models that it runs on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..errors import ModelNotFoundError
from ..types import GenerateRequest, ModelInfo
from ..wire.failure import UNREADABLE
from ..wire.lmstudio import LISTS, LMSTUDIO
from . import openai_api
from .documented import DOCUMENTED
from .endpoint import Endpoint, failed, send
from .exchange import Job
from .http_provider import with_nearest
from .openai_compatible import OpenAICompatibleProvider

if TYPE_CHECKING:
    from ..wire.call import Plan


class LMStudioProvider(OpenAICompatibleProvider):
    """An LM Studio server. Making one never touches the network.

    Args:
        model: The model to ask; the only one that is loaded when left out.
        base_url: The server's address; else ``LMSTUDIO_BASE_URL``, else ``http://localhost:1234/v1``.
        api_key: The server's token; else ``LM_API_TOKEN``. Only servers that were told to ask for one need it.
        transport: Replaces the network in sync calls, for tests.
        async_transport: Replaces the network in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        ConfigurationError: The address is none.
        TypeError: A default is no option of ``generate``.
    """

    provider = "lmstudio"
    protocol = LMSTUDIO
    known_fields = frozenset({"draft_model", "logit_bias", "ttl"})
    strict_tools = False
    tools_by_name = False
    down_hint = "start its server: lms server start"

    def endpoints_at(self, path: str) -> tuple[Endpoint, ...]:
        return (self._endpoint,) if path in DOCUMENTED else ()

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        """From LM Studio's own lists, which know what is loaded and how long the context is; else from OpenAI's."""
        for path, read in LISTS:
            call = self._endpoint.get(self._endpoint.root + path)
            answer = yield from send(self._endpoint, call)
            if answer.status in (401, 403):
                raise failed(self._endpoint, call, answer, answer.body)
            try:
                return read(answer.body)
            except UNREADABLE:
                continue  # an older version answers 200 to paths that it does not have, with an error in the body
        return (yield from openai_api.models(self._endpoint))

    def _plan_job(self, request: GenerateRequest, *, stream: bool) -> Plan[Job]:
        job = yield from super()._plan_job(request, stream=stream)
        return replace(job, confirm=self._confirm)

    def _confirm(self, endpoint: Endpoint, asked: str, answered: str | None) -> Plan[None]:
        """Raises if the model that answered is another one than was asked: the server may take what is loaded."""
        if answered is None or answered.partition(":")[0].partition("@")[0] == asked.partition("@")[0]:
            return  # instances of one model are numbered: name:2
        rows = yield from self._plan_models()
        names = {row.id for row in rows}
        if asked in names and answered not in names:
            return
        error = ModelNotFoundError(
            f"{self.provider}: {asked!r} was asked, but {answered!r} answered",
            provider=self.provider,
            model=asked,
            url=endpoint.base_url,
        )
        raise with_nearest(error, rows)
