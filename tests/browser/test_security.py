"""Whatever a model says, nothing of it runs, loads or leaves; and a page that wanted to could not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import gateway
from tests.browser.fake_model import FakeModel, answering
from tests.browser.gateway import RunningGateway
from tests.browser.visit import Open, Visit

OTHER = "http://127.0.0.1:9"
"""Another origin; nothing may even try to reach it."""

ATTEMPTS = """
async ([other, rules]) => {
  const refused = [];
  addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
  const add = (name, attributes = {}, text = "") => {
    const element = document.createElement(name);
    if (text) element.append(text);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    document.body.append(element);
    return element;
  };
  const attempts = [
    () => add("script", {}, "window.ran = 1"),
    () => add("script", { src: `${other}/x.js` }),
    () => add("button", { onclick: "window.ran = 1" }).click(),
    () => add("a", { href: "javascript:window.ran=1" }).click(),
    () => document.body.insertAdjacentHTML("beforeend", "<b>markup from text</b>"),
    () => trustedTypes.createPolicy("mine", { createHTML: (text) => text }),
    () => setTimeout("window.ran = 1"),
    () => import(`${other}/x.js`),
    () => new Worker(URL.createObjectURL(new Blob(["postMessage(1)"]))),
    () => fetch(`${other}/x`),
    () => new WebSocket(other.replace("http", "ws")),
    () => navigator.sendBeacon(`${other}/x`),
    () => add("img", { src: `${other}/x.png` }),
    () => add("link", { rel: "stylesheet", href: `${other}/x.css` }),
    () => add("p", { style: `background: url(${other}/x)` }),
    () => add("iframe", { src: `${other}/` }),
    () => add("object", { data: `${other}/` }),
    () => add("base", { href: `${other}/` }),
    () => add("form", { action: `${other}/` }).submit(),
  ];
  for (const attempt of attempts) {
    try {
      await attempt();
    } catch {
      // Refused with an exception; the event says the same.
    }
  }
  const patience = performance.now() + 20_000; // some are refused a moment later
  while (!rules.every((rule) => refused.includes(rule)) && performance.now() < patience) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return [...new Set(refused)];
}
"""
"""What injected code would try, one after the other; gives the rules that refused it."""
RULES = {
    "script-src-elem", "require-trusted-types-for", "trusted-types", "connect-src", "img-src", "style-src-elem",
    "style-src-attr", "frame-src", "base-uri", "form-action",
}  # fmt: skip
"""Handlers, workers and objects are refused as untrusted text before their own rules are asked."""

HOSTILE = {
    "script": "<script>window.ran = 1</script>",
    "handlers": "<img src=x onerror='window.ran=1'><svg onload='window.ran=1'></svg>"
    "<details open ontoggle='window.ran=1'>",
    "foreign images": "![x](http://127.0.0.1:9/a.png?leak) <img src='http://127.0.0.1:9/b.png'>"
    " <picture><source srcset='http://127.0.0.1:9/c.png'></picture>",
    "links": "[a](javascript:window.ran=1) [b](JaVaScRiPt:window.ran=1)"
    " [c](data:text/html,<script>window.ran=1</script>) [d](vbscript:x) <javascript:window.ran=1>"
    " <a href='java&#10;script:window.ran=1'>e</a>"
    " <a href='javascript:window.ran=1'>f</a> [g](//127.0.0.1:9/x)",
    "frames": "<iframe srcdoc='<script>parent.ran=1</script>'></iframe><object data='http://127.0.0.1:9/'></object>"
    "<embed src='http://127.0.0.1:9/'>",
    "styles": "<style>*{background:url(http://127.0.0.1:9/a)}</style><link rel=stylesheet href='http://127.0.0.1:9/b'>"
    "<p style='background:url(http://127.0.0.1:9/c)'>x</p>",
    "document": "<base href='http://127.0.0.1:9/'><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "forms": "<form action='http://127.0.0.1:9/'><input name=q value=1><button>send</button></form>",
    "clobbering": "<form id=body><input name=createElement></form><img name=cookie><a id=location href=x></a>",
    "mutation": "<math><mtext><table><mglyph><style><!--</style>"
    "<img title='--&gt;&lt;img src=1 onerror=window.ran=1&gt;'>"
    "<svg></p><style><a id='</style><img src=1 onerror=window.ran=1>'>",
    "code": "```html\n<script>window.ran = 1</script>\n``` \n```<img/src/onerror=window.ran=1>\nx\n```",
    "tables": "|a|b|\n|-|-|\n|<img src=x onerror=window.ran=1>|[x](javascript:window.ran=1)|",
    "characters": "\u202eright to left\u202c \0 \ufffe \u2028 data: [DONE]",
}
LONG = {
    "one line": "x" * 1_000_000,
    "quotes": ">" * 20_000,
    "brackets": "[" * 20_000,
    "stars": "**" * 20_000 + "a",
    "backticks": "`" * 19_999 + " a",
    "rows": "|a" * 5_000 + "|\n" + "|-" * 5_000 + "|\n",
    "list": "".join(f"{'  ' * depth}- x\n" for depth in range(400)),
}


@contextmanager
def gateway_before(model: FakeModel, folder: Path) -> Iterator[RunningGateway]:
    """A gateway in front of a model that says what the test wants."""
    key = folder / "key"
    key.touch(0o600)
    key.write_text("upstream-secret")
    config = f'[backends.openai]\nbase_url = "{model.base_url}"\napi_key_file = "{key}"\n'
    with gateway.running(config, folder) as found:
        yield found


@pytest.fixture(scope="module")
def model() -> Iterator[FakeModel]:
    with answering() as found:
        yield found


@pytest.fixture(scope="module")
def scripted(model: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with gateway_before(model, tmp_path_factory.mktemp("scripted")) as found:
        yield found


def ask(page: Page, text: str = "Hello") -> None:
    """Sends a message and waits for the end of the answer."""
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    answers = page.get_by_role("article", name="Model")
    before = answers.count()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answers).to_have_count(before + 1)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0, timeout=30_000)


def nothing_ran(page: Page) -> None:
    assert page.evaluate("window.ran") is None
    hrefs = page.evaluate("[...document.querySelectorAll('[href]')].map((e) => e.href?.baseVal ?? e.href)")
    assert not [href for href in hrefs if not str(href).startswith(("http:", "https:", "mailto:"))]
    kinds = "script:not([src]), iframe, object, embed, base, style, [style*=url], svg script, meta[http-equiv]"
    assert page.locator(kinds).count() == 0
    attributes = page.evaluate(
        "[...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames()).filter((n) => n.startsWith('on'))"
    )
    assert attributes == []


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_injected_code_could_do_nothing(visit: Visit, path: str) -> None:
    visit.expect("policy:|Content Security [Pp]olicy|Trusted ?(?:HTML|Script|Type)|127.0.0.1:9")
    page = visit.open(path)
    page.wait_for_load_state("networkidle")
    refused = page.evaluate(ATTEMPTS, [OTHER, sorted(RULES)])
    assert set(refused) >= RULES, f"not refused: {RULES - set(refused)}"
    assert page.evaluate("window.ran") is None
    assert page.url == f"{visit.origin}{path}"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_asks_nobody_but_the_gateway(visit: Visit, path: str) -> None:
    page = visit.open(path)
    page.wait_for_load_state("networkidle")
    assert len(visit.requests) > 5
    assert all(url.startswith(f"{visit.origin}/") for url in visit.requests)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_of_an_answer_runs_or_loads(
    open_browser: Open, scripted: RunningGateway, model: FakeModel, text: str
) -> None:
    with open_browser(scripted.url) as visit:
        page = visit.open("/")
        popups: list[str] = []
        visit.context.on("page", lambda other: popups.append(other.url))
        page.on("dialog", lambda dialog: popups.append(dialog.message))
        for parts in (list(text), [text]):  # each prefix is painted on its own, as a stream of letters
            model.parts = parts
            ask(page)
            nothing_ran(page)
        answers = page.get_by_role("article", name="Model")
        for element in answers.locator("summary, img, button.copy-code").all():
            element.click()
        nothing_ran(page)
        page.reload()  # the same from the page's own store
        page.get_by_role("navigation", name="Conversations").get_by_title("Hello").first.click()
        expect(answers).to_have_count(2)
        nothing_ran(page)
        assert popups == []


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_no_answer_brings_the_page_down(
    open_browser: Open, scripted: RunningGateway, model: FakeModel, text: str
) -> None:
    with open_browser(scripted.url) as visit:
        page = visit.open("/")
        model.parts = [text[at : at + 4096] for at in range(0, len(text), 4096)]
        ask(page)
        model.parts = ["still here"]
        ask(page)
        expect(page.get_by_role("article", name="Model").last).to_contain_text("still here")


def test_names_and_failures_are_text_too(open_browser: Open, tmp_path: Path) -> None:
    with answering() as model, gateway_before(model, tmp_path) as named:
        model.name = "<img src=x onerror='window.ran=1'>"
        model.failure = {"message": "<img src=x onerror='window.ran=1'><b>bold</b>", "type": "x", "code": "<i>y</i>"}
        with open_browser(named.url) as visit:
            visit.expect("status of 400")
            page = visit.open("/")
            ask(page)
            expect(page.get_by_role("alert")).to_contain_text("<b>bold</b>")
            nothing_ran(page)
            page = visit.open("/docs")
            page.locator("#post-v1-chat-completions summary").first.click()
            nothing_ran(page)


def test_no_key_of_ours_reaches_the_page(open_browser: Open, scripted: RunningGateway) -> None:
    with open_browser(scripted.url) as visit:
        bodies: list[str] = []
        visit.page.on("requestfinished", lambda request: bodies.append(request.response().text()))
        page = visit.open("/")
        ask(page)
        page.wait_for_load_state("networkidle")
        assert bodies
        assert not [body for body in bodies if "upstream-secret" in body]
