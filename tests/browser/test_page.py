"""The chat page with a real model: what a person sees of an answer, and does with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.gateway import RunningGateway
from tests.browser.visit import Open, Visit
from tests.live.conftest import LiveServer


@pytest.fixture
def chat(visit: Visit) -> ChatPage:
    return ChatPage(visit)


def test_the_empty_page_names_the_model_and_its_context(chat: ChatPage, served: RunningGateway) -> None:
    row = served.get("/v1/models")["data"][0]
    expect(chat.page.get_by_role("heading", level=1)).to_have_text(row["id"].partition("/")[2])
    expect(chat.page.get_by_title("Choose a model (Alt+M)")).to_contain_text(f"{row['max_model_len'] // 1024}k")
    chat.visit.shoot()


def test_an_answer_with_its_figures(chat: ChatPage) -> None:
    chat.set(max_tokens="24", temperature="0")
    answer = chat.ask("Say hello.")
    figures = answer.locator(".figures summary")
    expect(figures).to_contain_text(re.compile(r"(stop|token limit).*\d+ tokens.*[\d.]+ tok/s.*first token .*m?s"))
    figures.click()
    expect(answer.locator(".figures dd").last).to_have_text(re.compile(r"^req-\w+"))
    expect(chat.page.locator(".context")).to_have_text(re.compile(r"^\d+ / \d+k$"))
    expect(chat.page.get_by_role("status").filter(has_text="Answer: ")).to_have_count(1)


def test_stop_ends_the_answer_and_keeps_what_there_is(chat: ChatPage) -> None:
    chat.set(max_tokens="1500", temperature="1", extra='{"ignore_eos": true}')
    chat.send("Tell me a very long story.")
    expect(chat.last.locator(".prose")).to_contain_text(re.compile(r"\w+ \w+"), timeout=60_000)
    with chat.page.expect_event("requestfailed") as aborted:
        chat.page.keyboard.press("Escape")
    assert aborted.value.url.endswith("/v1/chat/completions")
    answer = chat.finished()
    expect(answer.locator(".figures summary")).to_contain_text("stopped")
    expect(answer.locator(".prose")).to_contain_text(re.compile(r"\w+ \w+"))
    chat.set(max_tokens="8", extra="")
    expect(chat.ask("Go on.").locator(".prose")).not_to_be_empty()


def test_regenerate_and_edit_make_branches_that_stay(chat: ChatPage) -> None:
    chat.set(max_tokens="8", temperature="1")
    first = chat.ask("Name a colour.").locator(".prose").inner_text()
    chat.click("Regenerate")
    expect(chat.last.locator(".branches")).to_contain_text("2/2")
    chat.finished()
    chat.click("Previous branch")
    expect(chat.last.locator(".prose")).to_have_text(first)

    chat.message.press("ArrowUp")
    editor = chat.page.get_by_label("Edit the message")
    expect(editor).to_have_value("Name a colour.")
    editor.fill("Name an animal.")
    editor.press("Enter")
    chat.finished()
    said = chat.page.locator(".turn.user")
    expect(said.locator(".bubble")).to_have_text("Name an animal.")
    said.get_by_role("button", name="Previous branch").click()
    expect(said.locator(".bubble")).to_have_text("Name a colour.")
    expect(chat.last.locator(".prose")).to_have_text(first)
    expect(chat.last.locator(".branches")).to_contain_text("1/2")


def test_a_constraint_is_proved(chat: ChatPage) -> None:
    chat.constrain("Choice", "positive\nnegative")
    answer = chat.ask("I love it. How do I feel?")
    expect(answer.locator(".badge.proved")).to_have_text("Proved · Choice")
    assert answer.locator(".exact").inner_text() in {"positive", "negative"}

    schema = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 99}}, "required": ["age"]}
    chat.constrain("JSON schema", json.dumps(schema | {"additionalProperties": False}))
    chat.set(temperature="0")
    answer = chat.ask("How old are you?")
    expect(answer.locator(".badge.proved")).to_contain_text("JSON schema")
    assert isinstance(json.loads(answer.locator("pre").inner_text())["age"], int)
    chat.visit.shoot()

    chat.page.get_by_role("button", name="Remove the constraint").click()
    chat.set(max_tokens="8")
    expect(chat.ask("Say anything.").locator(".badge")).to_have_count(0)


def test_a_constraint_is_checked_while_it_is_written(chat: ChatPage) -> None:
    chat.page.keyboard.press("Alt+c")
    chat.page.get_by_role("tab", name="Regex").click()
    source = chat.page.get_by_role("textbox", name="Regex")
    use = chat.page.get_by_role("button", name="Use it")
    source.fill("[0-9]{4}-(")
    expect(chat.page.locator(".verdict.bad").first).to_contain_text("unclosed group")
    expect(use).to_be_disabled()
    source.fill("[0-9]{4}-[0-9]{2}")
    expect(chat.page.locator(".verdict.good")).to_contain_text("compiles")
    expect(use).to_be_enabled()
    trial = chat.page.get_by_label("Try a text")
    trial.fill("2024-1")
    expect(chat.page.locator(".verdict.bad")).to_contain_text("ends before it is complete")
    trial.fill("2024-11")
    expect(chat.page.locator(".verdict.bad")).to_have_count(0)
    chat.visit.shoot()
    chat.page.get_by_role("tab", name="Regex").press("ArrowRight")
    expect(chat.page.get_by_role("tab", name="Choice")).to_be_focused()
    expect(chat.page.get_by_role("textbox", name="Choice")).to_be_visible()


def test_all_of_it_by_the_keyboard(chat: ChatPage) -> None:
    page = chat.page
    named = page.evaluate("""() => [...document.querySelectorAll("button, input, textarea, select, a[href]")]
        .filter((one) => !(one.ariaLabel || one.title || one.textContent.trim() || one.labels?.length))
        .map((one) => one.outerHTML)""")
    assert named == []
    seen: set[str] = set()
    page.locator("body").evaluate("body => document.activeElement.blur()")
    for _ in range(25):
        page.keyboard.press("Tab")
        focused = page.evaluate("""() => {
            const { outlineStyle } = getComputedStyle(document.activeElement);
            const one = document.activeElement;
            // Between the last part of the page and its first one lies the browser's own frame.
            if (one === document.body) return ["", true];
            // The frame around the message and its buttons is coloured in its place.
            const shown = outlineStyle !== "none" || one.id === "message";
            return [one.ariaLabel || one.textContent.trim() || one.tagName, shown];
        }""")
        assert focused[1], focused
        seen.add(focused[0])
    assert seen >= {"Go to the message", "Search conversations", "Message", "Settings", "Constrain the answer"}
    page.locator("body").evaluate("body => document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    chat.close()
    page.keyboard.press("/")
    expect(chat.message).to_be_focused()
    page.keyboard.press("Alt+m")
    expect(page.get_by_role("combobox", name="Search models")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_have_count(0)
    expect(chat.message).to_be_focused()


def test_several_answers_side_by_side_and_the_chosen_one_goes_on(chat: ChatPage) -> None:
    chat.set(n="3", max_tokens="20", temperature="1", seed="7")
    chat.ask("Name a fruit.")
    choices = chat.answers.first.locator(".choice")
    expect(choices).to_have_count(3)
    choices.nth(2).get_by_label("Use this").check()
    third = choices.nth(2).locator(".prose").inner_text()
    chat.visit.shoot()
    chat.set(n="")
    chat.ask("Why?")
    sent = json.loads(chat.code("JSON"))["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert " ".join(sent[1]["content"].split()) == " ".join(third.split())
    choices.nth(0).get_by_label("Use this").check()
    expect(chat.answers).to_have_count(1)


def test_beams_side_by_side(chat: ChatPage) -> None:
    chat.set(n="2", max_tokens="12")
    chat.check("use_beam_search")
    answer = chat.ask("The capital of France is")
    expect(answer.locator(".choice")).to_have_count(2)
    expect(answer.locator(".choice .prose")).to_have_count(2)
    expect(chat.page.get_by_label("Several answers")).to_have_text("Beam 2")


def test_conversations_stay_and_can_be_found_renamed_and_deleted(chat: ChatPage) -> None:
    chat.set(max_tokens="6")
    answer = chat.ask("A word about badgers, please.").locator(".prose").inner_text()
    chat.reload()
    expect(chat.last.locator(".prose")).to_have_text(answer)

    chat.page.keyboard.press("Alt+n")
    expect(chat.answers).to_have_count(0)
    chat.ask("And of otters?")
    rows = chat.page.locator(".chats .chat-title")
    expect(rows).to_have_count(2)
    search = chat.page.get_by_label("Search conversations")
    search.fill("BADGERS")
    expect(rows).to_have_count(1)
    rows.click()
    expect(chat.page.locator(".bubble")).to_have_text("A word about badgers, please.")

    row = chat.page.locator(".chats li")
    row.hover()
    row.get_by_role("button", name=re.compile("Rename")).click()
    chat.page.get_by_label("New title").fill("Striped")
    chat.page.keyboard.press("Enter")
    search.fill("striped")
    expect(rows).to_have_text("Striped")
    row.hover()
    row.get_by_role("button", name=re.compile("Delete")).click()
    chat.page.get_by_role("button", name="Delete", exact=True).click()
    expect(chat.page.get_by_text("Nothing found")).to_be_visible()
    expect(chat.message).to_be_focused()  # of the new conversation in its place; it must not take the next key
    search.fill("")
    expect(rows).to_have_count(1)


def test_what_is_exported_comes_back_with_all_branches(chat: ChatPage, tmp_path: Path) -> None:
    chat.set(max_tokens="6", system="Be brief.")
    chat.ask("Hello?")
    chat.click("Regenerate")
    answer = chat.finished().locator(".prose").inner_text()
    chat.page.get_by_label("Export this conversation").click()
    markdown = chat.saved("Markdown", tmp_path).read_text(encoding="utf-8")
    assert markdown.startswith("# Hello?\n\n## System\n\nBe brief.\n\n## You\n\nHello?\n\n## smollm2\n\n")
    exported = chat.saved("JSON, all branches", tmp_path)
    chat.page.get_by_label("An export of this page").set_input_files(exported)
    expect(chat.page.locator(".chats .chat-title")).to_have_count(2)
    expect(chat.last.locator(".prose")).to_have_text(answer)
    expect(chat.last.locator(".branches")).to_contain_text("2/2")


def test_the_copied_request_is_the_one_that_was_sent(chat: ChatPage) -> None:
    chat.set(max_tokens="5", temperature="0", extra='{"min_tokens": 5}')
    answer = chat.ask("It's a 'quote' and a \"quote\".")
    said = answer.locator(".prose").inner_text()
    command = chat.code("curl")
    done = subprocess.run(("bash", "-c", command), capture_output=True, text=True, timeout=60, check=True)
    deltas = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content") or "" for delta in deltas for choice in delta["choices"])
    assert " ".join(text.split()) == " ".join(said.split())
    program = chat.code("Python")
    sent = capture(program)
    assert sent.pop("extra_body") == {"min_tokens": 5}
    body = json.loads(chat.code("JSON"))
    assert body.pop("min_tokens") == 5
    assert sent == body


def capture(program: str) -> dict[str, object]:
    """Runs a program with a stand-in for the SDK, and returns what it would send."""
    stand_in = """
import sys, types, json
def create(**fields):
    print(json.dumps(fields)); raise SystemExit
class OpenAI:
    def __init__(self, **_):
        self.chat = types.SimpleNamespace(completions=types.SimpleNamespace(create=create))
sys.modules["openai"] = types.SimpleNamespace(OpenAI=OpenAI)
"""
    argv = (sys.executable, "-c", stand_in + program)
    found: dict[str, object] = json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)
    return found


def test_tool_calls_are_shown_and_answered_by_hand(chat: ChatPage) -> None:
    tool = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris"]}}}}
    tool["parameters"] |= {"required": ["city"], "additionalProperties": False}  # type: ignore[operator]
    chat.set(tools=json.dumps([{"type": "function", "function": tool}]), max_tokens="60", temperature="0")
    chat.page.keyboard.press("Alt+s")
    chat.page.locator("#set-tool_choice").select_option("required")
    chat.close()
    answer = chat.ask("The weather in Paris?")
    expect(answer.locator(".tool-name")).to_contain_text("get_weather")
    expect(answer.locator(".tool pre").first).to_contain_text("Paris")
    chat.page.keyboard.press("Alt+s")
    chat.page.locator("#set-tool_choice").select_option("none")
    chat.close()
    for result in answer.get_by_label("Result of get_weather").all():
        result.fill('{"sky": "clear"}')
    answer.get_by_role("button", name=re.compile("Send result")).click()
    expect(chat.answers).to_have_count(2)
    chat.finished()
    roles = [message["role"] for message in json.loads(chat.code("JSON"))["messages"]]
    assert roles[:3] == ["user", "assistant", "tool"]


def test_an_adapter_is_loaded_used_and_unloaded(chat: ChatPage, vllm: LiveServer) -> None:
    name, path = next(iter(vllm.adapters.items()))
    served_as = f"{name}-on-the-page"
    chat.page.keyboard.press("Alt+a")
    chat.page.get_by_label("Name", exact=True).fill(served_as)
    chat.page.get_by_label("Path on the server").fill(str(path))
    chat.page.get_by_role("button", name="Load", exact=True).click()
    expect(chat.page.get_by_role("radio", name=served_as)).to_be_checked(timeout=60_000)
    chat.visit.shoot()
    chat.close()
    chat.set(max_tokens="6")
    answer = chat.ask("Hello?")
    answer.locator(".figures summary").click()
    expect(answer.locator(".figures dd").first).to_have_text(re.compile(served_as))

    chat.page.keyboard.press("Alt+a")
    chat.page.get_by_role("button", name=f"Unload {served_as}").click()
    expect(chat.page.get_by_role("radio")).to_have_count(1)
    chat.close()
    expect(chat.page.get_by_title("Choose an adapter (Alt+A)")).to_have_text("No adapter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(open_browser: Open, served: RunningGateway, scheme: str) -> None:
    with open_browser(served.url, scheme, size=(360, 740), has_touch=True, color_scheme=scheme) as visit:
        chat = ChatPage(visit)
        visit.shoot("empty")
        chat.set(max_tokens="60", n="2", temperature="1")
        chat.ask("Write `code` in a block, and a long line: " + "x" * 200)
        visit.shoot("answer")
        assert chat.page.evaluate("document.documentElement.scrollWidth") == 360
        chat.page.get_by_role("button", name="Conversations").click()
        expect(chat.page.get_by_label("Search conversations")).to_be_focused()
        chat.page.locator(".chats .chat-title").click()
        expect(chat.page.get_by_label("Search conversations")).to_be_hidden()
