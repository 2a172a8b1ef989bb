"""Records streams of the endpoints that the gateway passes on, for tests/recordings/gateway.

Any vLLM that parses tools will do, with a model that speaks:

    python -m vllm.entrypoints.openai.api_server --model SmolLM2-135M-Instruct --served-model-name smollm2
        --enable-auto-tool-choice --tool-call-parser hermes

    python scripts/record_gateway.py http://127.0.0.1:8000 tests/recordings/gateway

Each stream is written as it came, byte by byte; `streams.json` has the requests, the sizes of the HTTP chunks, and
whether the server cut the connection before the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from record_vllm import Server
from vllm_probes import Probe

MODEL: Final = "smollm2"
ASK: Final = [{"role": "user", "content": "Give me a number."}]
SCHEMA: Final = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"


def response(**changes: Any) -> tuple[str, dict[str, Any]]:
    """A request for a response of a few greedy tokens."""
    asked = {"model": MODEL, "input": "Give me a number.", "temperature": 0, "max_output_tokens": 60, "stream": True}
    return RESPONSES, {**asked, **changes}


def message(**changes: Any) -> tuple[str, dict[str, Any]]:
    """The same for a message."""
    asked = {"model": MODEL, "messages": ASK, "temperature": 0, "max_tokens": 60, "stream": True}
    return MESSAGES, {**asked, **changes}


def _format(schema: Any) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "n", "schema": schema}}


TOOL: Final = {"type": "function", "name": "get_n", "parameters": SCHEMA, "strict": True}
STREAMS: Final = {
    "response": response(max_output_tokens=6),
    "response_json": response(text=_format(SCHEMA)),
    "response_cut": response(text=_format(SCHEMA), max_output_tokens=3),
    "response_tool": response(tools=[TOOL], tool_choice="required"),
    "response_error": response(structured_outputs={"regex": r"\p{L}+"}),
    "message": message(max_tokens=6),
    "message_json": message(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}),
    "message_cut": message(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}, max_tokens=3),
    "message_tool": message(
        tools=[{"name": "get_n", "input_schema": SCHEMA, "strict": True}], tool_choice={"type": "any"}
    ),
    "message_error": message(output_config={"format": {"type": "json_schema", "schema": {"$ref": "#"}}}),
}


class Cutting(Server):
    """A server that may close the connection within an answer."""

    def stream(self, path: str, body: dict[str, Any]) -> tuple[list[bytes], bool]:
        """The HTTP chunks of an answer, and whether it was cut."""
        chunks: list[bytes] = []
        connection, answer = self.begin(Probe(path, "POST", path, json.dumps(body)))
        try:
            while size := int((answer.fp.readline() or b"-1").split(b";")[0], 16):
                if size < 0:
                    return chunks, True
                chunks.append(answer.fp.read(size))
                answer.fp.readline()
        finally:
            connection.close()
        return chunks, False


def main() -> None:
    """Records all of them."""
    server, folder = Cutting(sys.argv[1], has_key=False), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    heads = {}
    for name, (path, body) in STREAMS.items():
        chunks, cut = server.stream(path, body)
        (folder / f"{name}.sse").write_bytes(b"".join(chunks))
        heads[name] = {"path": path, "body": body, "chunk_sizes": [len(chunk) for chunk in chunks], "cut": cut}
        print(f"{name}: {len(chunks)} chunks{', cut' if cut else ''}")
    (folder / "streams.json").write_text(json.dumps(heads, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
