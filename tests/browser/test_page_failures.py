"""The chat page when things go wrong: nothing broken is ever shown as an answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from abstractcore.server.keys import Key, write_keys
from tests.browser import gateway
from tests.browser.chat_page import ChatPage, in_front_of
from tests.browser.fake_model import FakeModel
from tests.browser.visit import Open
from tests.scripted_server import ScriptedServer


@dataclass
class BrokenModel(FakeModel):
    """Streams its parts, and then what a test wants in place of the end."""

    ending: tuple[bytes, ...] = ()

    def _events(self) -> Iterator[bytes]:
        *parts, _finish, _usage, _done = super()._events()
        yield from parts
        yield from self.ending


BAD_STATUS = "Failed to load resource"


def broken_text(chat: ChatPage) -> str:
    """The struck text of the last answer, after looking that it is shown as no answer."""
    expect(chat.last.locator(".error-box")).to_be_visible()
    expect(chat.last.locator(".prose")).to_have_count(0)
    expect(chat.last.locator(".badge.proved")).to_have_count(0)
    text: str = chat.last.locator("del").inner_text()
    return text


def test_an_error_inside_the_stream_and_a_stream_that_is_cut(open_browser: Open, tmp_path: Path) -> None:
    error = {"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}}
    model = BrokenModel(parts=("Half ", "an answ"), ending=(json.dumps(error).encode(),))
    with in_front_of(model, tmp_path) as running, open_browser(running.url) as visit:
        chat = ChatPage(visit)
        chat.ask("Hello?")
        assert broken_text(chat) == "Half an answ"
        expect(chat.last.locator(".error-box")).to_contain_text("the engine died")
        visit.shoot()

        model.ending = ()
        chat.click("Try again")
        expect(chat.last.locator(".branches")).to_contain_text("2/2")
        chat.finished()
        assert broken_text(chat) == "Half an answ"

        model.ending = tuple(FakeModel._events(model))[-3:]
        chat.ask("Still there?")
        expect(chat.last.locator(".prose")).to_have_text("Half an answ")
        assert [message["role"] for message in model.asked[-1]["messages"]] == ["user", "user"]


STREAMS = {
    "no-end-mark": ('data: {"choices":[{"index":0,"delta":{"content":"Half"},"finish_reason":"stop"}]}\n\n', "[DONE]"),
    "no-finish-reason": ('data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\ndata: [DONE]\n\n', "finish"),
    "not-json": ('data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\ndata: {oops\n\n', "not JSON"),
    "in-band": ('data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\ndata: {"error":{"message":"no"}}', "no"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_page_itself_trusts_no_stream(open_browser: Open, tmp_path: Path, name: str) -> None:
    body, said = STREAMS[name]

    def answer(route: Route) -> None:
        route.fulfill(status=200, headers={"content-type": "text/event-stream", "x-request-id": "req-7"}, body=body)

    with in_front_of(FakeModel(), tmp_path) as running, open_browser(running.url) as visit:
        visit.page.route("**/v1/chat/completions", answer)
        chat = ChatPage(visit)
        chat.ask("Hello?")
        assert broken_text(chat) == "Half"
        expect(chat.last.locator(".error-box")).to_contain_text(said)
        expect(chat.last.locator(".error-box")).to_contain_text("req-7")
        chat.reload()
        assert broken_text(chat) == "Half"


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
def test_a_failed_proof_is_no_answer(open_browser: Open, tmp_path: Path, streamed: bool) -> None:
    with in_front_of(FakeModel(parts=("may", "be")), tmp_path) as running, open_browser(running.url) as visit:
        visit.expect(BAD_STATUS)
        chat = ChatPage(visit)
        chat.constrain("JSON schema", '{"type": "integer"}')
        if not streamed:
            chat.check("stream")
        chat.ask("Is it?")
        assert broken_text(chat) == "maybe"
        expect(chat.last.locator(".error-box")).to_contain_text("constraint_violation")
        visit.shoot()


def test_a_key_is_asked_for_and_kept_nowhere(open_browser: Open, tmp_path: Path) -> None:
    secret = "ac-" + "the-page-must-not-keep-this" * 2
    keys = tmp_path / "keys.json"
    write_keys(keys, [Key(name="reader", sha256=sha256(secret.encode()).hexdigest(), created=datetime.now(UTC))])
    model = FakeModel()
    with ScriptedServer(model.play) as server:
        config = f'keys = "{keys}"\n[backends.vllm]\nbase_url = "{server.url}/v1"\n'
        with gateway.running(config, tmp_path) as running, open_browser(running.url) as visit:
            visit.expect(BAD_STATUS)
            page = visit.open()
            dialog = page.get_by_role("dialog", name="Key")
            dialog.get_by_label("Key", exact=True).fill("wrong")
            dialog.get_by_role("button", name="Use it").click()
            dialog.get_by_label("Key", exact=True).fill(secret)
            dialog.get_by_role("button", name="Use it").click()
            expect(page.get_by_title("Choose a model (Alt+M)")).to_contain_text("scripted")
            chat = ChatPage.__new__(ChatPage)
            chat.visit, chat.page = visit, page
            chat.ask("Hello?")
            assert "ABSTRACTCORE_API_KEY" in chat.code("curl")
            page.get_by_label("Export this conversation").click()
            exported = chat.saved("JSON, all branches", tmp_path).read_text(encoding="utf-8")
            assert secret not in exported
            assert secret not in json.dumps(everything_kept(chat)) + page.url
            page.reload()
            expect(page.get_by_role("dialog", name="Key")).to_be_visible()


def everything_kept(chat: ChatPage) -> Any:
    """All that this origin has stored in the browser."""
    return chat.page.evaluate("""async () => {
        const kept = [{ ...localStorage }, { ...sessionStorage }, document.cookie];
        for (const { name } of await indexedDB.databases()) {
            const base = await new Promise((resolve) => {
                indexedDB.open(name).onsuccess = ({ target }) => resolve(target.result);
            });
            for (const store of base.objectStoreNames) {
                const rows = base.transaction(store).objectStore(store).getAll();
                kept.push(await new Promise((resolve) => { rows.onsuccess = () => resolve(rows.result); }));
            }
            base.close();
        }
        return kept;
    }""")


def test_a_gateway_that_is_gone(open_browser: Open, tmp_path: Path) -> None:
    with open_browser_at_gone(open_browser, tmp_path) as chat:
        chat.ask("Hello?")
        expect(chat.last.locator(".error-box")).to_contain_text("The gateway can't be reached.")
        chat.page.get_by_label("Export this conversation").click()
        assert "Hello?" in chat.saved("Markdown", tmp_path).read_text(encoding="utf-8")


@contextmanager
def open_browser_at_gone(open_browser: Open, folder: Path) -> Iterator[ChatPage]:
    """A page whose gateway has stopped."""
    with ScriptedServer(FakeModel().play) as server:
        config = f'[backends.vllm]\nbase_url = "{server.url}/v1"\n'
        running = gateway.running(config, folder)
        opened = running.__enter__()
        try:
            with open_browser(opened.url) as visit:
                visit.expect(BAD_STATUS)
                chat = ChatPage(visit)
                expect(chat.page.get_by_title("Choose a model (Alt+M)")).to_contain_text("scripted")
                running.__exit__(None, None, None)
                yield chat
        finally:
            running.__exit__(None, None, None)


def test_what_is_not_json_is_not_sent(open_browser: Open, tmp_path: Path) -> None:
    model = FakeModel()
    with in_front_of(model, tmp_path) as running, open_browser(running.url) as visit:
        chat = ChatPage(visit)
        chat.set(extra='{"top_k": 20', temperature="3")
        chat.send("Hello?")
        expect(chat.page.locator(".blocked")).to_contain_text("Temperature lies from 0 to 2")
        chat.set(temperature="1")
        chat.message.press("Enter")
        expect(chat.page.locator(".blocked")).to_contain_text("no JSON")
        assert not model.asked
        chat.set(extra="")
        chat.message.press("Enter")
        expect(chat.finished().locator(".prose")).to_have_text("Hello.")


def repainted(chat: ChatPage) -> None:
    """The list is read again, as when another tab has written; the row of a new title shows when."""
    title = f"Title {time.monotonic_ns()}"
    script = """
        const { chats } = await load("store");
        chats.value = [{ ...chats.value[0], id: given, title: given }, ...chats.value.map((row) => ({ ...row }))];
    """
    chat.run(script, title)
    expect(chat.page.get_by_role("button", name=title, exact=True)).to_be_visible()


def test_a_list_that_is_painted_again_takes_neither_words_nor_focus(open_browser: Open, tmp_path: Path) -> None:
    with in_front_of(FakeModel(), tmp_path) as running, open_browser(running.url) as visit:
        chat = ChatPage(visit)
        chat.ask("A word about badgers.")
        row = chat.page.locator(".chats li").last
        row.hover()
        row.get_by_role("button", name="Rename").click()
        chat.page.keyboard.type("Stri")
        repainted(chat)
        chat.page.keyboard.type("ped")
        chat.page.keyboard.press("Enter")
        renamed = chat.page.locator(".chats li").first  # what changed last
        expect(renamed).to_have_text("Striped")

        renamed.hover()
        renamed.get_by_role("button", name="Delete").click()
        expect(renamed.get_by_role("button", name="Delete")).to_be_focused()
        chat.message.click()
        chat.page.keyboard.type("Hel")
        repainted(chat)
        chat.page.keyboard.type("lo")
        expect(chat.message).to_have_value("Hello")
