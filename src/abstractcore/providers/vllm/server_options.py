"""Options that are fields of the server's own: template variables, priority, and the limit on log probabilities."""

from __future__ import annotations

from ...errors import ConfigurationError
from ...vllm_facts import MAX_LOGPROBS
from .draft import Draft


def shape_options(draft: Draft) -> None:
    """Writes them into the request, or refuses what the server can't take."""
    request = draft.request
    if request.chat_template_kwargs:
        if draft.surface != "chat":
            raise ConfigurationError("chat_template_kwargs is for the chat template, which raw_prompt leaves out")
        draft.fields["chat_template_kwargs"] = request.chat_template_kwargs
    if request.priority is not None:
        draft.fields["priority"] = request.priority
        if request.priority != 0:
            draft.knobs["priority"] = (
                "only servers with --scheduling-policy priority obey it, and they don't say whether they do"
            )
    if request.logprobs is not None and not 0 <= request.logprobs <= MAX_LOGPROBS and not request.allow_unknown:
        raise draft.refuse(
            f"logprobs={request.logprobs}",
            why=f"servers give 0 to {MAX_LOGPROBS} at each place unless they were started with another --max-logprobs",
            alternatives=[
                f"logprobs={MAX_LOGPROBS}",
                "allow_unknown=True for a server with a higher --max-logprobs",
            ],
        )
