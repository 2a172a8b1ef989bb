"""The methods of a provider that run a model and its tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from ..types import GenerateResponse
from .request import GenerateOptions, build_request
from .tool_loop import OnToolError, ToolLoop

if TYPE_CHECKING:
    from ..types import GenerateRequest
    from ..wire.call import Plan


class ToolLoopCalls:
    """Part of every provider."""

    _defaults: Mapping[str, Any]

    if TYPE_CHECKING:

        def _plan_answer(self, request: GenerateRequest) -> Plan[GenerateResponse]: ...

        def _run(self, plan: Plan[GenerateResponse]) -> GenerateResponse: ...

        async def _arun(self, plan: Plan[GenerateResponse]) -> GenerateResponse: ...

    def run_tools(
        self,
        prompt: str | None = None,
        *,
        max_steps: int = 8,
        on_tool_error: OnToolError = "tell",
        response_model: Any = None,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse:
        """Lets the model call tools until it answers: runs each call and tells the model what came of it.

        Args:
            prompt: What the user says.
            max_steps: Most requests to the model.
            on_tool_error: ``tell`` the model the error of a tool, or of a call that breaks its schema; or ``raise`` it.
            response_model: As in ``generate``. This and ``guided_*`` hold for the final answer, which is asked for
                once the model wants no more tools.
            options: ``GenerateOptions``, ``tools`` among them: functions, or definitions that have one.
                ``tool_choice`` holds for the first request, then the model is free.

        Returns:
            The final answer. Its metadata has the ``transcript`` (a list of ``Message``), the number of ``steps`` and
            the ``total_usage``; ``parsed`` the instance, if there is a response model.

        Raises:
            StepLimitError: The model still wanted tools after ``max_steps``.
            ConfigurationError: A tool has no function, or must be awaited.
        """
        given = {**self._defaults, **options, "response_model": response_model}
        loop = ToolLoop(prompt, max_steps, on_tool_error, given)
        return loop.run(lambda step: self._run(self._plan_answer(build_request(None, step))))

    async def arun_tools(
        self,
        prompt: str | None = None,
        *,
        max_steps: int = 8,
        on_tool_error: OnToolError = "tell",
        response_model: Any = None,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse:
        """Like ``run_tools``; async tools are awaited, others run in threads, those of one answer at the same time."""
        given = {**self._defaults, **options, "response_model": response_model}
        loop = ToolLoop(prompt, max_steps, on_tool_error, given)
        return await loop.arun(lambda step: self._arun(self._plan_answer(build_request(None, step))))
