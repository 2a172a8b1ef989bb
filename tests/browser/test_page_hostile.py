"""A model is a stranger: whatever it writes, the page shows it, runs none of it and fetches nothing.

That no request leaves for anyone but the gateway, and that the policy refuses nothing, is looked at after each test.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Dialog, expect

from tests.browser.chat_page import ChatPage, in_front_of
from tests.browser.fake_model import FakeModel
from tests.browser.visit import Open

EVIL = """Before.

<script>window.evil = 1</script>
<img src="http://attacker.example/pixel.png" onerror="window.evil = 2">
<svg onload="window.evil = 3"><a xlink:href="javascript:window.evil=4"><text>x</text></a></svg>
<iframe src="http://attacker.example/"></iframe>
<form action="http://attacker.example/" id="app"><input name="body"><button>send</button></form>

![a picture](http://attacker.example/md.png "title")
![inline](data:image/svg+xml;base64,PHN2Zy8+)
[script link](javascript:window.evil=5) [data link](data:text/html,<script>window.evil=6</script>)
[good link](https://example.org/ "onmouseover=window.evil=7") <https://auto.example/"onclick="window.evil=8>
Inline <b onclick="window.evil=9">bold</b> <style>body{display:none}</style> <kbd>K</kbd>

| a <img src=x onerror=window.evil=10> | b |
|---|---|
| `<script>` | [x](vbscript:window.evil=11) |

```html"><script>window.evil=12</script>
<script>window.evil = 13</script>
```

</div></article></li></ol></main></body></html><base href="http://attacker.example/">

[^1]: A footnote.

After.
"""


def pieces(text: str, size: int = 7) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def test_markup_of_a_model_runs_nothing_and_fetches_nothing(open_browser: Open, tmp_path: Path) -> None:
    model = FakeModel(parts=pieces(EVIL))
    with in_front_of(model, tmp_path) as running, open_browser(running.url) as visit:
        visit.page.on("dialog", refuse)
        chat = ChatPage(visit)
        prose = chat.ask("Hello?").locator(".prose")
        for word in ("Before.", "<script>window.evil = 1</script>", "A footnote.", "After.", "<iframe", "<style>"):
            expect(prose).to_contain_text(word)
        expect(prose.locator("kbd")).to_have_text("K")
        assert prose.locator("img, script, iframe, style, form, svg, base, object, embed, [id], [style]").count() == 0
        links = {
            (link.get_attribute("href"), link.get_attribute("rel"), link.get_attribute("target"))
            for link in prose.locator("a").all()
        }
        assert {href for href, _, _ in links} >= {"https://example.org/", "http://attacker.example/md.png"}
        assert {href.partition(":")[0] for href, _, _ in links if href} <= {"http", "https", "mailto"}
        assert {(rel, target) for _, rel, target in links} == {("noopener noreferrer nofollow", "_blank")}
        attributes = prose.evaluate("box => [...box.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())")
        assert not [name for name in attributes if name.startswith("on")]
        assert chat.page.evaluate("window.evil") is None
        chat.reload()
        expect(chat.last.locator(".prose")).to_contain_text("After.")
        assert chat.page.evaluate("window.evil") is None
        visit.shoot()


def refuse(dialog: Dialog) -> None:
    raise AssertionError(dialog.message)


def test_a_line_of_a_megabyte_and_text_after_it(open_browser: Open, tmp_path: Path) -> None:
    model = FakeModel(parts=["# Start\n\n", *["*a[`<" * 10_000] * 20, "\n\n**the end**"])
    with in_front_of(model, tmp_path) as running, open_browser(running.url) as visit:
        chat = ChatPage(visit)
        prose = chat.ask("Hello?").locator(".prose")
        expect(prose.locator("strong")).to_have_text("the end")
        assert prose.evaluate("box => box.textContent.length") > 1_000_000
        assert chat.page.evaluate("document.documentElement.scrollWidth") == visit.page.viewport_size["width"]


def test_a_long_answer_is_painted_once_not_for_each_word(open_browser: Open, tmp_path: Path) -> None:
    paragraphs = "".join(f"Paragraph {number} with *some* `code`.\n\n" for number in range(2_000))
    model = FakeModel(parts=pieces(paragraphs, 20))
    with in_front_of(model, tmp_path) as running, open_browser(running.url) as visit:
        chat = ChatPage(visit)
        chat.page.evaluate("""() => {
            window.built = 0;
            new MutationObserver((changes) => {
                for (const { addedNodes } of changes) {
                    window.built += [...addedNodes].filter((node) => node.matches?.(".prose p")).length;
                }
            }).observe(document.body, { childList: true, subtree: true });
        }""")
        prose = chat.ask("Hello?").locator(".prose")
        expect(prose.locator("p").last).to_have_text("Paragraph 1999 with some code.")
        assert prose.locator("p").count() == 2_000
        # Each paragraph is built when it is complete, and the last one again in each frame.
        assert chat.page.evaluate("window.built") < 2_000 * 4


def test_what_streams_in_looks_like_what_is_painted_at_once(open_browser: Open, tmp_path: Path) -> None:
    text = (
        "# Title\r\n\r\nA [later][1] link and a\nbroken line.\n\n4. one\n\n   more of one\n5. two\n   - deep\n\n"
        "> quote\nlazy\n\n"
        "```python\nif x:\n\n    y()\n```\n\n|a|b|\n|-|:-:|\n|1|2|\n\n"
        "- [ ] open\n- [x] done\n\nSetext\n===\n\n[1]: https://example.org/\n"
    )
    model = FakeModel(parts=pieces(text, 3))
    with in_front_of(model, tmp_path) as running, open_browser(running.url) as visit:
        chat = ChatPage(visit)
        streamed = chat.ask("Hello?").locator(".prose").inner_html()
        chat.reload()
        expect(chat.last.locator(".prose h1")).to_have_count(2)
        expect(chat.last.locator("ol")).to_have_attribute("start", "4")
        expect(chat.last.locator("td").nth(1)).to_have_attribute("align", "center")
        expect(chat.last.locator("input:checked")).to_have_count(1)
        assert chat.last.locator(".prose").inner_html() == streamed
        expect(chat.last.get_by_role("link", name="later")).to_have_attribute("href", "https://example.org/")
