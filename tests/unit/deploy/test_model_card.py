from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.model_card import from_config, from_folder
from abstractcore.deploy.model_files import cache_entry, cache_folder, find_model, hub_plan
from abstractcore.deploy.plan import make_plan
from abstractcore.deploy.safetensors_header import header_length, parse_header
from abstractcore.deploy.sizing.tensors import stage_bytes
from abstractcore.errors import AuthenticationError, ConfigurationError, ModelNotFoundError
from abstractcore.wire.call import Answer, Call

from .goldens import card, configs

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128, "intermediate_size": 256,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip


def header_of(config: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint with this configuration has."""
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    shapes["lm_head.weight"] = (vocab, hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (hidden, hidden), f"{at}.self_attn.k_proj.weight": (kv, hidden),
            f"{at}.self_attn.v_proj.weight": (kv, hidden), f"{at}.self_attn.o_proj.weight": (hidden, hidden),
            f"{at}.mlp.gate_proj.weight": (inner, hidden), f"{at}.mlp.up_proj.weight": (inner, hidden),
            f"{at}.mlp.down_proj.weight": (hidden, inner), f"{at}.input_layernorm.weight": (hidden,),
            f"{at}.post_attention_layernorm.weight": (hidden,),
        }  # fmt: skip
    return {name: {"dtype": "BF16", "shape": list(shape), "data_offsets": [0, 0]} for name, shape in shapes.items()}


def packed(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def model_folder(folder: Path, config: dict[str, Any], header: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if header is not None:
        (folder / "model.safetensors").write_bytes(packed(header))
    return folder


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_tensors_that_were_read_equal_those_expected(tmp_path: Path, tp: int) -> None:
    read = from_folder(model_folder(tmp_path, LLAMA, header_of(LLAMA)))
    told = from_folder(model_folder(tmp_path / "bare", LLAMA))
    assert read.from_weights
    assert not told.from_weights
    sizes = [
        stage_bytes(model.tensors_for("bfloat16"), tp=tp, stage=0, pp=1, layers=3, kv_heads=2) for model in (read, told)
    ]
    assert sizes[0] == sizes[1]


def test_an_unknown_architecture_is_planned_from_its_tensors(tmp_path: Path) -> None:
    config = LLAMA | {"architectures": ["NovelForCausalLM"], "layer_types": ["full_attention"] * 3}
    plan = make_plan(from_folder(model_folder(tmp_path, config, header_of(LLAMA))), parse_gpus("1xL4"))
    assert plan.verdict == "FIT"
    weights = plan.chosen.ranks[0].weights
    assert weights.high > weights.best > weights.low


def test_an_unknown_architecture_without_weights_is_refused(tmp_path: Path) -> None:
    model = from_folder(model_folder(tmp_path, LLAMA | {"architectures": ["NovelForCausalLM"]}))
    with pytest.raises(ConfigurationError, match="NovelForCausalLM is not known"):
        make_plan(model, parse_gpus("1xL4"))


@pytest.mark.parametrize("odd", [{"ssm_state_size": 16}, {"layer_types": ["full_attention", "linear_attention"] * 2}])
def test_an_unknown_architecture_with_odd_attention_is_refused(tmp_path: Path, odd: dict[str, Any]) -> None:
    config = LLAMA | {"architectures": ["NovelForCausalLM"]} | odd
    model = from_folder(model_folder(tmp_path, config, header_of(LLAMA)))
    with pytest.raises(ConfigurationError, match="can't be planned"):
        make_plan(model, parse_gpus("1xL4"))


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no config\.json"):
        from_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigurationError, match="can't be read"):
        from_folder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConfigurationError, match="can't be read"):
        from_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="names no architecture"):
        from_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(ConfigurationError, match="lacks: hidden"):
        from_folder(tmp_path)


def test_a_pointer_of_git_lfs_is_no_safetensors_file(tmp_path: Path) -> None:
    model_folder(tmp_path, LLAMA)
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ConfigurationError, match="is not a safetensors file"):
        from_folder(tmp_path)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_header_or_an_error(data: bytes) -> None:
    for read in (parse_header, header_length):
        try:
            outcome: object = read(data, source="x")
        except ConfigurationError as error:
            outcome = error.message
        assert outcome or outcome == {}


@given(
    st.dictionaries(
        st.text(max_size=12), st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers()))
    )
)
def test_any_configuration_is_a_model_or_an_error(extra: dict[str, Any]) -> None:
    try:
        outcome: object = from_config("x", LLAMA | extra)
    except ConfigurationError as error:
        outcome = error.message
    assert outcome


ENTRIES = (
    *LLAMA, "rope_scaling", "rope_parameters", "quantization_config", "head_dim", "sliding_window", "layer_types",
    "text_config", "vision_config", "num_experts", "dtype", "original_max_position_embeddings",
)  # fmt: skip
JUNK: tuple[Any, ...] = (None, "x", [], {}, [1], {"a": 1}, {"quant_method": 3}, -1, 0, 1.5, True, 10**30)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_in_a_configuration_is_a_plan_or_an_error(entry: str, junk: object) -> None:
    try:
        outcome: object = make_plan(from_config("x", LLAMA | {entry: junk}), parse_gpus("2xL4")).verdict
    except ConfigurationError as error:
        outcome = error.message
    assert outcome


# --- where models are ------------------------------------------------------------------------------------------------


def test_a_cache_entry(tmp_path: Path) -> None:
    entry = tmp_path / "hub" / "models--acme--tiny"
    model_folder(entry / "snapshots" / "abc", LLAMA)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("abc")
    environ = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    assert cache_entry("acme/tiny", environ) == entry / "snapshots" / "abc"
    assert find_model("acme/tiny", environ).shape.layers == 3
    with pytest.raises(ConfigurationError, match="not in the Hugging Face cache"):
        find_model("acme/other", environ)


def test_cache_folders() -> None:
    assert cache_folder({"HF_HOME": "/a"}) == Path("/a/hub")
    assert cache_folder({"HF_HOME": "/a", "HF_HUB_CACHE": "/b"}) == Path("/b")


def test_no_model_of_this_name() -> None:
    with pytest.raises(ConfigurationError, match="there is no model"):
        find_model("nothing here", {})
    with pytest.raises(ConfigurationError, match="it is no folder"):
        find_model("./missing", {})


def drive(plan: Any, answers: dict[str, Answer]) -> tuple[Any, list[Call]]:
    """Runs a plan against answers by the end of the address."""
    calls: list[Call] = []
    sent: Any = None
    try:
        while True:
            call = plan.send(sent)
            calls.append(call)
            sent = next((a for end, a in answers.items() if call.url.endswith(end)), Answer(404, {}, b""))
            if "range" in call.headers and sent.status == 206:
                low, high = (int(end) for end in call.headers["range"].removeprefix("bytes=").split("-"))
                sent = Answer(206, {}, sent.body[low : high + 1])
    except StopIteration as stop:
        return stop.value, calls


def test_the_hub_is_asked_for_headers_only() -> None:
    data = packed(header_of(LLAMA))
    model, calls = drive(
        hub_plan("acme/tiny", {"HF_TOKEN": "secret", "HF_ENDPOINT": "https://hub.example"}),
        {
            "/config.json": Answer(200, {}, json.dumps(LLAMA).encode()),
            "/model.safetensors": Answer(302, {"location": "https://files.example/blob"}, b""),
            "/blob": Answer(206, {}, data),
        },
    )
    assert model.from_weights
    assert all(call.url.startswith("https://hub.example/acme/tiny/resolve/main/") for call in calls[:-1])
    assert calls[-1].headers["range"].startswith("bytes=0-")
    assert "authorization" not in calls[-1].headers
    assert all(call.headers["authorization"] == "Bearer secret" for call in calls[:-1])


@pytest.mark.parametrize(
    "target", ["http://hub.example/blob", "https://hub.example:444/blob", "https://hub.example.evil.example/blob"]
)
def test_the_token_goes_to_the_hub_alone(target: str) -> None:
    _, calls = drive(
        hub_plan("acme/tiny", {"HF_TOKEN": "secret", "HF_ENDPOINT": "https://hub.example"}),
        {
            "/config.json": Answer(307, {"location": target}, b""),
            "/blob": Answer(200, {}, json.dumps(LLAMA).encode()),
        },
    )
    assert {"authorization" in call.headers for call in calls if call.url == target} == {False}


@pytest.mark.parametrize("index", [b"{}", b'{"weight_map": 7}', b'{"weight_map": []}'])
def test_an_index_that_is_none(index: bytes) -> None:
    with pytest.raises(ConfigurationError, match="is no index of weights"):
        drive(
            hub_plan("acme/tiny", {}),
            {
                "/config.json": Answer(200, {}, json.dumps(LLAMA).encode()),
                "/model.safetensors.index.json": Answer(200, {}, index),
            },
        )


def test_a_long_header_is_asked_for_in_full() -> None:
    config = LLAMA | {"num_hidden_layers": 200}
    data = packed(header_of(config))
    model, calls = drive(
        hub_plan("acme/tiny", {}),
        {"/config.json": Answer(200, {}, json.dumps(config).encode()), "/model.safetensors": Answer(206, {}, data)},
    )
    assert len(data) > 100_000
    assert calls[-1].headers["range"] == f"bytes=8-{len(data) - 1}"
    assert model.header == {name: ("BF16", tuple(entry["shape"])) for name, entry in header_of(config).items()}


def test_what_the_hub_refuses() -> None:
    with pytest.raises(ModelNotFoundError):
        drive(hub_plan("acme/none", {}), {})
    with pytest.raises(AuthenticationError) as caught:
        drive(hub_plan("acme/gated", {}), {"/config.json": Answer(403, {}, b"")})
    assert "HF_TOKEN" in (caught.value.hint or "")


def test_sizes_of_known_models() -> None:
    assert card("Qwen2.5-Coder-7B").parameters == 7_615_616_512
    assert card("Llama-3.1-8B").parameters == 8_030_261_248
    assert len(configs()) > 100
