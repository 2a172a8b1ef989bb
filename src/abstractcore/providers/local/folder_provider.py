"""What the providers share whose models are folders of the hub's kind."""

from __future__ import annotations

from ...constraint import Constraint
from ...types import ModelInfo
from ...wire.call import Plan
from ..draft import Draft
from . import checkpoint, guided
from .adapters import AdapterMethods


class FolderProvider(AdapterMethods):
    """A model folder in this process, generated from token by token."""

    default_model = "HuggingFaceTB/SmolLM2-135M-Instruct"

    def _shape(self, draft: Draft) -> None:
        super()._shape(draft)
        constraint: Constraint | None = draft.request.constraint
        if constraint is not None:
            guided.check(constraint, self.provider)
        if draft.request.chat_template_kwargs:
            draft.fields["chat_template_kwargs"] = draft.request.chat_template_kwargs

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        """The model in use with its adapters, and what else the hub's cache has."""
        rows = yield from super()._plan_models()
        there = {row.root for row in rows}
        return rows + [
            ModelInfo(
                id=name,
                context_length=checkpoint.context_length(checkpoint.read_json(folder, "config.json")),
                root=str(folder),
                owned_by=self.provider,
            )
            for name, folder in checkpoint.cached().items()
            if str(folder) not in there
        ]
