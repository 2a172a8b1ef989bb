"""What is said of an answer that was held to a constraint."""

from __future__ import annotations

from ..types import GenerateResponse


def proof_line(answer: GenerateResponse) -> str | None:
    """By what it was proved, in one line; ``None`` if nothing was asked of it."""
    proof = answer.metadata.get("constraint")
    if not proof:
        return None
    if not proof["proved"]:
        return f"not proved: {proof['kind']}, sent as {proof['spelling']}; {proof['unproved']}"
    cut = f"; {proof['cut_by']} cut it, trimmed to the longest match" if proof.get("trimmed") else ""
    return f"proved: {proof['kind']} by {proof['checker']}, sent as {proof['spelling']}{cut}"
