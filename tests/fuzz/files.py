"""Files that people and other programs write: settings, keys, conversations, batches, models, logs."""

from __future__ import annotations

import atexit
import gzip
import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from abstractcore.deploy import startup_log
from abstractcore.deploy.causes import explain, first_error
from abstractcore.deploy.choose import Wish
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.lifecycle import record
from abstractcore.deploy.lifecycle.phases import Phases
from abstractcore.deploy.memory import Flags
from abstractcore.deploy.model_card import from_folder
from abstractcore.deploy.plan import make_plan
from abstractcore.errors import ConfigurationError, SessionError
from abstractcore.providers.batch.journal import Journal
from abstractcore.providers.local import checkpoint, gguf_header
from abstractcore.providers.local.engine import EngineError
from abstractcore.providers.local.lora import read_adapter
from abstractcore.server.config import check_config
from abstractcore.server.keys import read_keys
from abstractcore.server.loading import load as load_config
from abstractcore.session import archive
from abstractcore.settings import TABLE, resolve
from abstractcore.testing.recordings import read_recording
from abstractcore.vllm_facts import parse_version

from .target import Target

TESTS: Final = Path(__file__).parents[1]
FLAGS: Final = Flags(utilization=0.9, max_model_len=512, max_num_seqs=8, max_num_batched_tokens=512, dtype="bfloat16")
CONFIG: Final[dict[str, Any]] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128, "intermediate_size": 256,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip
HEADER: Final = json.dumps(
    {
        "__metadata__": {"format": "pt"},
        "base_model.model.q.lora_A.weight": {"dtype": "BF16", "shape": [8, 64], "data_offsets": [0, 1024]},
        "base_model.model.q.lora_B.weight": {"dtype": "BF16", "shape": [64, 8], "data_offsets": [1024, 2048]},
        "model.layers.0.self_attn.q_proj.weight": {"dtype": "BF16", "shape": [128, 128], "data_offsets": [0, 1]},
    }
).encode()


@cache
def folder() -> Path:
    """A folder of this process, which goes with it."""
    made = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def written(name: str, data: bytes) -> Path:
    """A file that only its owner may read."""
    path = folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Has a reader of paths read an input."""
    return lambda data: read(written(name, data))


def _settings(path: Path) -> None:
    for name in TABLE:
        found = resolve(name, environ={}, files=(path,))
        assert found.value is None or isinstance(found.value, str)
        found.shown()


def _gateway(path: Path) -> None:
    loaded = load_config(path)
    check_config(loaded.config)
    loaded.text()


def _journal(path: Path) -> None:
    journal = Journal(path)
    journal.begin()
    journal.close()


def _config(data: bytes) -> None:
    model = written("model/config.json", data).parent
    make_plan(from_folder(model), parse_gpus("2xL4"), Wish(context=128))


def _beside(name: str, data: bytes) -> None:
    """A file beside a config.json that is right."""
    model = written(f"{name.replace('.', '-')}/config.json", json.dumps(CONFIG).encode()).parent
    written(f"{model.name}/{name}", data)
    from_folder(model)


def _startup_log(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    phases = Phases()
    for line in text.splitlines():
        phases.read(line)
    explain(text)
    first_error(text.splitlines())
    version = startup_log.version_in(text)
    assert version is None or parse_version(version) is not None
    startup_log.wish_in(text, Wish())
    startup_log.as_measured(startup_log.read_log(text), FLAGS, 10**9)


def _gguf(path: Path) -> None:
    header = gguf_header.read_header(path)
    gguf_header.context_length(header)
    gguf_header.has_pooling(header)


def _adapter(data: bytes) -> None:
    model = written("adapter/adapter_model.safetensors", data).parent
    written("adapter/adapter_config.json", b'{"peft_type":"LORA","r":8,"lora_alpha":16}')
    files = read_adapter("a", str(model))
    files.modules()


def _adapter_config(data: bytes) -> None:
    model = written("adapter2/adapter_config.json", data).parent
    written("adapter2/adapter_model.safetensors", struct.pack("<Q", len(HEADER)) + HEADER)
    files = read_adapter("a", str(model))
    str((files.base, files.scale, files.modules()))


def _tokenizer_config(data: bytes) -> None:
    path = written("checkpoint/config.json", data)
    checkpoint.context_length(checkpoint.read_json(path.parent, path.name))


def _logs() -> list[bytes]:
    return [path.read_bytes()[-12_000:] for path in sorted((TESTS / "recordings" / "vllm-logs").glob("*.log"))]


def _configs() -> list[bytes]:
    packed = TESTS / "unit" / "deploy" / "fixtures" / "configs.json.gz"
    found = json.loads(gzip.decompress(packed.read_bytes()))
    whole = [json.dumps(files["config.json"]).encode() for files in found.values()]
    return [json.dumps(CONFIG).encode(), *sorted((text for text in whole if len(text) < 4096), key=len)[:40]]


def _gguf_seeds() -> list[bytes]:
    def text(given: bytes) -> bytes:
        return struct.pack("<Q", len(given)) + given

    name = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    length = text(b"llama.context_length") + struct.pack("<II", 4, 2048)
    numbers = text(b"llama.list") + struct.pack("<IIQ", 9, 4, 3) + struct.pack("<III", 1, 2, 3)
    words = text(b"llama.words") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b")
    return [b"GGUF" + struct.pack("<IQQ", 3, 1, 4) + name + length + numbers + words]


_SETTINGS: Final = [
    b'[vllm]\nbase_url = "http://h:8000"\napi_key = "k"\n[cache]\ndir = "/tmp"\n[serve]\nport = "8080"\n',
    b'vllm.base_url = "x"\n[[openai]]\nbase_url = 1\n',
]
_GATEWAY: Final = [
    (
        b'host = "127.0.0.1"\nport = 8080\ncors_origins = ["https://a.b"]\n[backends.vllm]\n'
        b'base_url = ["http://a:1", "http://b:2"]\n'
        b'max_in_flight = 5\n[aliases]\nfast = "vllm/m"\n[limits]\nrequest_seconds = 5.0\n'
    ),
    b'[backends."a.b"]\nprovider = "openai"\napi_key_file = "k"\nbase_url = "http://u:pass@h"\n',
]
_KEYS: Final = [
    (
        b'{"schema":"abstractcore.keys/1","keys":[{"name":"a","sha256":"'
        + b"0" * 64
        + b'","created":"2026-01-01T00:00:00Z",'
        b'"models":["vllm/*"],"rate":5,"expires":"2027-01-01T00:00:00Z"}]}'
    )
]
_SESSION: Final = [
    (
        b'{"schema_version":"session-archive/v1","session":{"provider":"vllm","options":{"temperature":0}},"messages":'
        b'[{"role":"user","content":"hi"},{"role":"assistant","content":"x","tool_calls":[{"name":"f","arguments":{}}]}]}'
    )
]
_BATCH: Final = [
    b'{"index":0,"digest":"d","response":{"content":"a","model":"m","finish_reason":"stop"}}\n{"index":1,"digest":"e"}\n'
]
_RECORDS: Final = [b'{"' + startup_log.flags_key(FLAGS).encode() + b'":{"weights":5,"activation":1,"max_num_seqs":8}}']
_MINE: Final = (ConfigurationError,)


def _deployments() -> list[bytes]:
    found = []
    for kind in ("host", "private", "sealed"):
        told = json.loads((TESTS / "recordings" / "engine" / f"{kind}.json").read_bytes())
        found.append(json.dumps({"schema": "x", "engine": "docker", "deployment": told["deployment"]}).encode())
    return found


def _recording() -> list[bytes]:
    packed = TESTS / "recordings" / "contract" / "openai" / "plain.jsonl.gz"
    return [gzip.decompress(packed.read_bytes())]


TARGETS: Final = (
    Target("settings", "settings files (TOML)", in_file("config.toml", _settings), _MINE, lambda: _SETTINGS),
    Target(
        "gateway-config",
        "the gateway's configuration (TOML)",
        in_file("gateway.toml", _gateway),
        _MINE,
        lambda: _GATEWAY,
    ),
    Target("keys", "files of keys", in_file("keys.json", read_keys), _MINE, lambda: _KEYS),
    Target("session", "saved conversations", in_file("session.json", archive.load), (SessionError,), lambda: _SESSION),
    Target("journal", "files of batches", in_file("batch.jsonl", _journal), _MINE, lambda: _BATCH),
    Target("recording", "recordings of tests", in_file("r.jsonl", read_recording), _MINE, _recording),
    Target(
        "deployment",
        "records of deployments",
        in_file("deployment.json", lambda path: record.load(path.parent)),
        _MINE,
        _deployments,
    ),
    Target(
        "measured",
        "records of measurements",
        in_file("measured.json", partial(startup_log.load, flags=FLAGS)),
        _MINE,
        lambda: _RECORDS,
    ),
    Target(
        "startup-log",
        "start-up logs of vLLM",
        _startup_log,
        _MINE,
        _logs,
        (
            b"Model loading took 1.2.3 GiB",
            b"Maximum concurrency for , tokens per request: .x",
            b"non-default args: {'max_loras': [], 'enable_lora': True}",
            b"non-default args: {" + b"{" * 500 + b"}",
            b"Available KV cache memory: . GiB",
        ),
    ),
    Target("config-json", "config.json of a model, up to its plan", _config, _MINE, _configs, slow=True),
    Target(
        "quant-config",
        "hf_quant_config.json",
        partial(_beside, "hf_quant_config.json"),
        _MINE,
        lambda: [b'{"quantization":{"quant_algo":"FP8","exclude_modules":["lm_head"]}}'],
        slow=True,
    ),
    Target(
        "weights-index",
        "model.safetensors.index.json",
        partial(_beside, "model.safetensors.index.json"),
        _MINE,
        lambda: [b'{"weight_map":{"a":"model-00001.safetensors"}}'],
        slow=True,
    ),
    Target(
        "safetensors",
        "headers of weights",
        partial(_beside, "model.safetensors"),
        _MINE,
        lambda: [struct.pack("<Q", len(HEADER)) + HEADER],
        slow=True,
    ),
    Target(
        "adapter", "headers of adapters", _adapter, (EngineError,), lambda: [struct.pack("<Q", len(HEADER)) + HEADER]
    ),
    Target(
        "adapter-config",
        "adapter_config.json",
        _adapter_config,
        (EngineError,),
        lambda: [b'{"peft_type":"LORA","r":8,"lora_alpha":16,"use_rslora":true,"base_model_name_or_path":"m"}'],
    ),
    Target(
        "checkpoint",
        "config.json of a model that runs in the process",
        _tokenizer_config,
        (EngineError,),
        lambda: [json.dumps(CONFIG).encode(), b'{"text_config":{"max_position_embeddings":5}}'],
    ),
    Target("gguf", "headers of GGUF files", in_file("m.gguf", _gguf), (EngineError,), _gguf_seeds),
)
