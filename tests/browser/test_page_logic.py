"""The page's own modules, in the browser: splitting streams, the tree, requests, code, and files from anywhere."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chat_page import ChatPage, in_front_of
from tests.browser.fake_model import FakeModel
from tests.browser.visit import Open

HOSTILE_TEXT = "it's \"quoted\" \\ $HOME `id` $(id)\n\tnew\u2028line \U0001f600 é \x07 ' '' '''"


@pytest.fixture
def chat(open_browser: Open, tmp_path: Path) -> Iterator[ChatPage]:
    with in_front_of(FakeModel(), tmp_path) as running, open_browser(running.url) as visit:
        yield ChatPage(visit)


def test_events_are_whole_wherever_the_bytes_are_cut(chat: ChatPage) -> None:
    stream = ': note\r\ndata: {"a": "é"}\r\n\r\ndata:one\ndata: two\rid: 7\n\n\n\nevent: x\n\ndata: 😀\r\r\ndata: last'
    assert chat.run(
        """
        const { EventSplitter } = await load("sse");
        const bytes = new TextEncoder().encode(given);
        const read = (pieces) => {
            const splitter = new EventSplitter();
            return [...pieces.flatMap((piece) => splitter.push(piece)), ...splitter.end()];
        };
        const results = new Set([JSON.stringify(read([bytes]))]);
        for (let one = 0; one <= bytes.length; one += 1) {
            for (let two = one; two <= bytes.length; two += 3) {
                results.add(JSON.stringify(read([bytes.slice(0, one), bytes.slice(one, two), bytes.slice(two)])));
            }
        }
        results.add(JSON.stringify(read([...bytes].map((byte) => Uint8Array.of(byte)))));
        return [...results].map((text) => JSON.parse(text));
        """,
        stream,
    ) == [['{"a": "é"}', "one\ntwo", "😀", "last"]]


def test_a_tree_keeps_all_branches_and_forgets_a_deleted_one(chat: ChatPage) -> None:
    found = chat.run(
        """
        const { append, createChat, messages, path, removeBranch, select, siblings } = await load("tree");
        const chat = createChat({});
        const first = append(chat, { role: "user", content: "one" });
        const choices = [{ content: "A" }, { content: "B" }];
        const answer = append(chat, { role: "assistant", parent: first.id, choices });
        const onA = append(chat, { role: "user", parent: answer.id, via: 0, content: "on A" });
        answer.chosen = 1;
        const bare = path(chat).map((node) => node.content ?? node.role);
        const onB = append(chat, { role: "user", parent: answer.id, via: 1, content: "on B" });
        const failed = append(chat, { role: "assistant", parent: onB.id, choices: [{ content: "half" }], error: {} });
        const after = append(chat, { role: "user", parent: failed.id, content: "again" });
        const sent = messages(chat, after.id, 0, "Be kind.").map(({ role, content }) => `${role}: ${content}`);
        const other = append(chat, { role: "user", content: "other" });
        select(chat, first.id);
        const count = siblings(chat, first).length;
        removeBranch(chat, first.id);
        return { bare, sent, count, left: Object.keys(chat.nodes).length, shown: path(chat).map((node) => node.content),
                 places: Object.keys(chat.children) };
        """
    )
    assert found == {
        "bare": ["one", "assistant"],
        "sent": ["system: Be kind.", "user: one", "assistant: B", "user: on B", "user: again"],
        "count": 2,
        "left": 1,
        "shown": ["other"],
        "places": ["root"],
    }


BODIES: list[dict[str, Any]] = [
    {"model": "m", "messages": [{"role": "user", "content": HOSTILE_TEXT}], "stream": True},
    {
        "model": "m",
        "messages": [],
        "n": 2,
        "top_k": 1.5,
        "x": None,
        "flag": False,
        "deep": {"a": [1, {}, []], "b'": "c"},
    },
]


@pytest.mark.parametrize("body", BODIES)
def test_code_sends_exactly_the_body(chat: ChatPage, body: dict[str, Any]) -> None:
    command, program = chat.run(
        """
        const { curl, python } = await load("snippets");
        return [curl("http://x/v1/c", given, true), python("http://x/v1", given, true)];
        """,
        body,
    )
    words = shlex.split(command.replace("\\\n", ""))
    assert json.loads(words[words.index("-d") + 1]) == body
    assert "Authorization: Bearer $ABSTRACTCORE_API_KEY" in words
    [call] = [
        node
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "client.chat.completions.create"
    ]
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    others = given.pop("extra_body", {})
    assert given | others == body


def test_settings_become_a_request_and_empty_ones_stay_away(chat: ChatPage) -> None:
    made = chat.run(
        """
        const { defaults, parameters, troubles } = await load("request");
        const plain = { ...defaults(), model: "m", stream: false };
        return [
            parameters(plain),
            parameters({ ...plain, stream: true, seed: "0", temperature: "0", stop: "a\\nb\\n",
                         extra: '{"top_k": 5}' }),
            parameters({ ...plain, constraint: { ...plain.constraint, kind: "regex", regex: "a+ " } }),
            parameters({ ...plain, constraint: { ...plain.constraint, kind: "choice", choice: " a \\n\\nb" } }),
            troubles({ ...plain, n: "1.5", tools: "[1]", extra: "[]",
                       constraint: { ...plain.constraint, kind: "json" } }),
        ];
        """
    )
    assert made[0] == {"model": "m"}
    assert made[1] == {
        "model": "m", "temperature": 0, "seed": 0, "stop": ["a", "b"], "top_k": 5, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    assert made[2]["structured_outputs"] == {"regex": "a+ "}
    assert made[3]["structured_outputs"] == {"choice": ["a", "b"]}
    assert len(made[4]) == 4


def test_a_file_that_holds_anything_harms_nothing(chat: ChatPage) -> None:
    evil = {
        "id": "__proto__",
        "title": {"no": "text"},
        "settings": {"model": 7, "stream": "yes", "constraint": {"kind": "__proto__"}, "key": "secret"},
        "nodes": {
            "a": {"role": "user", "content": ["list"]},
            "b": {"role": "assistant", "choices": "none", "chosen": 99, "error": "text", "fields": None, "facts": []},
            "c": {"role": "assistant", "choices": [{"content": 1, "tool_calls": [None, {"function": 3}]}], "chosen": 0},
            "x": {"role": "script"},
        },
        "children": {"root": ["a", "x", "__proto__", "missing"], "a:0": ["b", "c", "a"], "c:0": ["a"]},
        "selected": {"root": "missing"},
    }
    found = chat.run(
        """
        const { adopt } = await load("adopt");
        const { path } = await load("tree");
        const chat = adopt(JSON.parse(given), new Set());
        return { path: path(chat).map((node) => node.role), count: Object.keys(chat.nodes).length,
                 settings: chat.settings, clean: chat.id !== "__proto__", title: chat.title };
        """,
        json.dumps(evil),
    )
    assert found["path"] == ["user", "assistant"]
    assert found["count"] == 3
    assert found["clean"]
    assert found["title"] == ""
    assert found["settings"]["model"] == ""
    assert found["settings"]["constraint"]["kind"] == ""
    assert "key" not in found["settings"]
