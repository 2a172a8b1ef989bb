"""The API explorer: all endpoints of the gateway, to read and to try."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.gateway import RunningGateway
from tests.browser.visit import PHONE, Open, Visit
from tests.recordings import openapi

CHAT = "/v1/chat/completions"


def operation(page: Page, path: str, method: str = "post") -> Locator:
    """One endpoint, unfolded."""
    found = page.locator(f"#{method}{re.sub(r'[^a-zA-Z0-9]+', '-', path)}")
    found.locator("summary").first.click()
    return found


def send(trial: Locator) -> Locator:
    """Sends the form; its answer, once it is complete."""
    trial.get_by_role("button", name="Send").click()
    answer = trial.locator(".answer")
    expect(answer).to_have_attribute("aria-busy", "false", timeout=60_000)
    return answer


def test_it_lists_all_endpoints(visit: Visit, served: RunningGateway) -> None:
    document = served.get("/openapi.json")
    page = visit.open("/docs")
    summaries = page.locator("details.operation > summary")
    expected = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method in {"get", "post", "put", "patch", "delete"}
    }
    expect(summaries).to_have_count(len(expected))
    shown = {" ".join(text.split()[:2]) for text in summaries.all_inner_texts()}
    assert shown == expected
    visit.shoot()


def test_any_document_can_be_read(visit: Visit) -> None:
    visit.context.route("**/openapi.json", lambda route: route.fulfill(json=openapi("0.32.0")))
    page = visit.open("/docs")
    everything = page.locator("details.operation")
    expect(everything.first).to_be_visible()
    for one in everything.all():
        one.locator("summary").first.click()
        expect(one.locator(".inner")).to_be_visible()
        if one.locator("details.schema").count():
            one.locator("details.schema > summary").first.click()
            expect(one.locator("details.schema > dl").first).to_be_visible()
        one.locator("summary").first.click()


def test_a_chat_can_be_tried(visit: Visit, served: RunningGateway) -> None:
    page = visit.open("/docs")
    trial = operation(page, CHAT)
    body = trial.get_by_label("Body")
    names = [row["id"] for row in served.get("/v1/models")["data"]]
    expect(body).to_have_value(re.compile("|".join(map(re.escape, names))))
    written = json.loads(body.input_value())
    assert written["model"] in names
    assert written["messages"]
    body.fill(json.dumps({**written, "stream": False, "max_tokens": 8}))
    answer = send(trial)
    expect(answer.get_by_role("status")).to_contain_text("200")
    said = json.loads(answer.locator("pre").first.inner_text())
    assert said["choices"][0]["message"]["content"]
    page.locator(".response details > summary").first.click()
    visit.shoot()


def test_a_stream_is_shown_as_it_comes_and_can_be_stopped(visit: Visit, served: RunningGateway) -> None:
    model = served.get("/v1/models")["data"][0]["id"]
    page = visit.open("/docs")
    trial = operation(page, CHAT)
    messages = [{"role": "user", "content": "Tell a long story."}]
    asked = {"model": model, "messages": messages, "stream": True, "max_tokens": 1500, "ignore_eos": True}
    trial.get_by_label("Body").fill(json.dumps(asked))
    trial.get_by_role("button", name="Send").click()
    expect(trial.locator("pre").first).to_contain_text("chat.completion.chunk")
    trial.get_by_role("button", name="Stop").click()
    expect(trial.get_by_role("status")).to_contain_text("stopped")
    expect(trial.locator("pre").first).not_to_contain_text("[DONE]")


def test_a_refusal_is_shown_as_it_is(visit: Visit) -> None:
    visit.expect("status of 404")
    page = visit.open("/docs")
    trial = operation(page, CHAT)
    trial.get_by_label("Body").fill('{"model": "nobody/has-this", "messages": [{"role": "user", "content": "x"}]}')
    answer = send(trial)
    expect(answer.get_by_role("status")).to_contain_text("404")
    expect(answer.locator("pre").first).to_contain_text("nobody/has-this")


def test_a_key_is_sent_but_neither_kept_nor_copied(visit: Visit) -> None:
    page = visit.open("/docs")
    page.get_by_label("Key").fill("sk-secret-of-mine")
    with page.expect_request("**/v1/models") as sent:
        page.get_by_label("Key").press("Tab")
    assert sent.value.headers["authorization"] == "Bearer sk-secret-of-mine"
    trial = operation(page, "/v1/models", "get")
    trial.get_by_role("button", name="Copy as curl").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl 'http://127.0.0.1:")
    assert "Bearer $ABSTRACTCORE_API_KEY" in copied
    assert "sk-secret" not in copied
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert "sk-secret" not in stored
    assert visit.context.cookies() == []


def test_words_find_endpoints(visit: Visit) -> None:
    page = visit.open("/docs")
    page.get_by_label("Find").fill("post /v1/chat")
    expect(page.locator("details.operation")).to_have_count(1)
    expect(page.locator("details.operation summary")).to_contain_text(CHAT)
    page.get_by_label("Find").fill("no such thing")
    expect(page.get_by_role("status")).to_be_visible()


def test_an_endpoint_has_an_address(visit: Visit) -> None:
    page = visit.open("/docs#get-v1-models")
    opened = page.locator("#get-v1-models")
    expect(opened).to_have_attribute("open", "")
    expect(opened.get_by_role("button", name="Send")).to_be_visible()
    operation(page, CHAT)
    expect(page).to_have_url(re.compile(r"#post-v1-chat-completions$"))


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit.open("/docs")
    page.get_by_label("Find").fill("get /v1/models list")
    expect(page.locator("details.operation")).to_have_count(1)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Send":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".answer pre").first).to_contain_text('"object": "list"')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_on_a_phone(open_browser: Open, served: RunningGateway, scheme: str) -> None:
    with open_browser(served.url, size=PHONE, color_scheme=scheme) as visit:
        page = visit.open("/docs")
        operation(page, CHAT)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visit.shoot(full=False)
