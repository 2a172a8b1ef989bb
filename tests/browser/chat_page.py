"""What a person does on the chat page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser import gateway
from tests.browser.fake_model import FakeModel
from tests.browser.gateway import RunningGateway
from tests.browser.visit import Visit
from tests.scripted_server import ScriptedServer

# A page on a busy machine is slow, not wrong.
expect.set_options(timeout=15_000)

WRITTEN_DOWN = """
for (;;) {
    const base = await new Promise((resolve) => {
        indexedDB.open("abstractcore").onsuccess = ({ target }) => resolve(target.result);
    });
    const row = base.transaction("chats").objectStore("chats").get(location.hash.slice(1));
    const chat = await new Promise((resolve) => { row.onsuccess = () => resolve(row.result); });
    base.close();
    if (chat && !Object.values(chat.nodes).some(({ status }) => status === "running")) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
}
"""

ANSWER_MS = 90_000
"""Milliseconds that a small model may take for an answer on a busy machine."""


class ChatPage:
    """The page in a browser; opened, with its models there."""

    def __init__(self, visit: Visit, path: str = "/") -> None:
        self.visit = visit
        self.page: Page = visit.open(path)
        expect(self.page.locator("html")).to_have_attribute("data-ready", "yes")
        expect(self.page.get_by_title("Choose a model (Alt+M)")).not_to_have_text("Looking for models")

    @property
    def message(self) -> Locator:
        """Where the next message is written."""
        return self.page.get_by_label("Message", exact=True)

    @property
    def answers(self) -> Locator:
        """The turns of the model."""
        return self.page.locator(".turn.assistant")

    @property
    def last(self) -> Locator:
        """Its last one."""
        return self.answers.last

    def set(self, **settings: str) -> None:
        """Fills fields of the settings."""
        self.page.keyboard.press("Alt+s")
        for name, value in settings.items():
            self.page.locator(f"#set-{name}").fill(value)
        self.close()

    def check(self, name: str) -> None:
        """Turns a switch of the settings."""
        self.page.keyboard.press("Alt+s")
        self.page.locator(f"#set-{name}").click()
        self.close()

    def close(self) -> None:
        """Closes the dialog."""
        self.page.keyboard.press("Escape")
        expect(self.page.locator("dialog")).to_have_count(0)

    def constrain(self, kind: str, source: str) -> None:
        """Sets a constraint."""
        self.page.keyboard.press("Alt+c")
        self.page.get_by_role("tab", name=kind).click()
        self.page.get_by_label(kind, exact=True).and_(self.page.locator("textarea")).fill(source)
        self.page.get_by_role("button", name="Use it").click()
        expect(self.page.locator("dialog")).to_have_count(0)

    def send(self, text: str) -> None:
        """Sends a message, by the keyboard."""
        self.message.fill(text)
        self.message.press("Enter")

    def ask(self, text: str) -> Locator:
        """Sends a message and waits for the end of its answer, good or bad."""
        before = self.answers.count()
        self.send(text)
        expect(self.answers).to_have_count(before + 1)
        return self.finished()

    def finished(self) -> Locator:
        """The last answer, once it has ended."""
        expect(self.page.get_by_role("button", name="Stop")).to_have_count(0, timeout=ANSWER_MS)
        expect(self.last.get_by_role("button", name="Regenerate")).to_be_visible()
        return self.last

    def click(self, name: str) -> None:
        """Presses a button of the last answer."""
        self.last.get_by_role("button", name=name).click()

    def code(self, form: str) -> str:
        """The last answer's request, as code."""
        self.click("Show the request as code")
        self.page.get_by_role("button", name=form, exact=True).click()
        text: str = self.page.locator("dialog pre").inner_text()
        self.close()
        return text

    def reload(self) -> None:
        """Comes back to the conversation, once the browser has written it down."""
        self.run(WRITTEN_DOWN)
        self.page.reload()

    def saved(self, button: str, folder: Path) -> Path:
        """The file that a button of the export hands out."""
        with self.page.expect_download() as started:
            self.page.get_by_role("button", name=button).click()
        path: Path = folder / started.value.suggested_filename
        started.value.save_as(path)
        return path

    def run(self, script: str, argument: Any = None) -> Any:
        """Runs the body of an async function; ``load`` imports a module of it, ``given`` is the argument."""
        wrapped = f"""async (given) => {{
            const load = (name) => import(new URL(`static/page/${{name}}.js`, document.baseURI).href);
            {script}
        }}"""
        return self.page.evaluate(wrapped, argument)


@contextmanager
def in_front_of(model: FakeModel, folder: Path) -> Iterator[RunningGateway]:
    """A gateway with this model behind it."""
    with ScriptedServer(model.play) as server:
        config = f'[backends.vllm]\nprovider = "vllm"\nbase_url = "{server.url}/v1"\n'
        with gateway.running(config, folder) as running:
            yield running
