"""Images in a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abstractcore import ConfigurationError, InvalidRequestError
from abstractcore.providers import attachments
from abstractcore.providers.request import build_request
from tests.recordings import VERSIONS
from tests.replay import Replay

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def content(prompt: str | None = "What is it?", **options: Any) -> Any:
    return build_request(prompt, options).messages[-1]["content"]


def test_images_stand_before_the_prompt(tmp_path: Path) -> None:
    file = tmp_path / "shot"
    file.write_bytes(PNG)
    first, second, third, text = content(media=[file, PNG, "https://host/picture.jpg"])
    assert first == second
    assert first["image_url"]["url"].startswith("data:image/png;base64,")
    assert third["image_url"]["url"] == "https://host/picture.jpg"
    assert text == {"type": "text", "text": "What is it?"}


def test_parts_that_are_there_are_kept() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]
    assert content(None, messages=messages, media=PNG)[1:] == parts
    assert messages[1]["content"] == parts, "the caller's own messages stay as they are"


@pytest.mark.parametrize(
    ("media", "message"),
    [
        (["/no/such/file.png"], "'/no/such/file.png' can't be read"),
        ([""], "can't be read"),
        (["a\0b"], "can't be read"),
        ([b"%PDF-1.7"], "no image of a known kind"),
        ([b""], "no image of a known kind"),
    ],
)
def test_what_is_no_image_is_refused(media: list[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        content(media=media)


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MAX_BYTES", len(PNG) - 1)
    with pytest.raises(ConfigurationError, match="too large"):
        content(media=[PNG])


def test_images_belong_to_the_user() -> None:
    with pytest.raises(ConfigurationError, match="message of the user"):
        content(None, messages=[{"role": "assistant", "content": "a"}], media=[PNG])
    with pytest.raises(ConfigurationError, match="raw_prompt takes no media"):
        build_request("a", {"raw_prompt": True, "media": [PNG]})


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "0.10.2"])
def test_a_model_that_can_t_see_says_so_itself(version: str) -> None:
    server = Replay(version, {"/v1/chat/completions": "image part"})
    with pytest.raises(InvalidRequestError, match="not a multimodal model") as refusal:
        server.provider().generate("hi", media=["data:image/png;base64,iVBORw0KGgo="], max_tokens=3)
    assert "multimodal model, such as" in (refusal.value.hint or "")
    assert server.sent[0][1]["messages"][0]["content"][0]["type"] == "image_url"
