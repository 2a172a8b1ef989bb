"""Write a tiny model and two LoRA adapters that old vLLM releases can serve.

The model is a Qwen2 of 1.8 MB with random weights: its text means nothing, but it is generated, constrained and adapted
like any other. The files are in the form of transformers 4 (a top-level `rope_theta` and `torch_dtype`, the chat
template inside tokenizer_config.json), which newer releases read too. The same seed gives the same files.

Needs numpy, safetensors and tokenizers, which every vLLM environment has.

    python scripts/make_old_tiny_model.py FOLDER    # writes FOLDER/model, FOLDER/adapter-a, FOLDER/adapter-b
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from safetensors.numpy import save_file
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

SEED = 20250911
HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, VOCABULARY = 128, 256, 2, 4, 2, 640
HEAD = HIDDEN // HEADS
RANK, LORA_ALPHA = 8, 64
SPECIAL = END_OF_TEXT, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
IDS = {"bos_token_id": SPECIAL.index(END_OF_TEXT), "eos_token_id": SPECIAL.index(END_OF_TURN)}
CONSTANT = 4.0  # the value of the first hidden dimension
CLOSERS = ('"', "}", "]")
MARKERS = ("<tool_call>", "</tool_call>", "<think>", "</think>")  # vLLM's parsers want each of them to be one token

# Made for merges that read like words, nothing more.
WORDS = """
the of and to in is that it was for on are with as his they be at one have this from or had by hot but some what there
we can out other were all your when up use word how said an each she which do their time if will way about many then
them would write like so these her long make thing see him two has look more day could go come did my sound no most
number who over know water than call first people may down side been now find any new work part take get place made
live where after back little only round man year came show every good give our under name very through just form much
great think say help low line before turn cause same mean differ move right boy old too does tell sentence set three
want air well also play small end put home read hand port large spell add even land here must big high such follow act
why ask men change went light kind off need house picture try us again animal point mother world near build self earth
def return class import lambda yield while true false none string integer object array select from where insert update
"""

CHAT_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n# Tools\n"
    "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    'Call one as <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call><|im_end|>\n{% endif %}'
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}<tool_call>\n{{ call | tojson }}\n</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Tensors: TypeAlias = dict[str, Array]


def write_model(folder: Path) -> None:
    """Write a model that transformers 4.51 and later, and thus vLLM from 0.8.5, can load."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder)
    write_json(folder / "config.json", config())
    write_json(folder / "generation_config.json", IDS)
    save_file(weights(tokenizer), folder / "model.safetensors", metadata={"format": "pt"})


def write_adapter(folder: Path, seed: int) -> None:
    """Write a LoRA adapter in peft's form that visibly changes what the model says."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "base_model_name_or_path": "tiny",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": LORA_ALPHA,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": ["q_proj", "v_proj"],
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    write_json(folder / "adapter_config.json", settings)
    save_file(adapter_weights(seed), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder)  # vLLM takes an adapter's own chat template before the model's


def write_tokenizer(folder: Path) -> Tokenizer:
    """Write a byte-level BPE tokenizer with a chat template, and return it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKERS),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS], trainer)
    tokenizer.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END_OF_TURN,
        "pad_token": END_OF_TEXT,
        "model_max_length": 4096,
        "chat_template": CHAT_TEMPLATE,
    }
    write_json(folder / "tokenizer_config.json", settings)
    return tokenizer


def config() -> dict[str, object]:
    """The model's config.json."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "torch_dtype": "float32",
        **IDS,
    }


def weights(tokenizer: Tokenizer) -> Tensors:
    """Random weights, with a say in which tokens come out.

    The first hidden dimension is a constant that no layer reads or writes, so the first column of `lm_head` is a bias
    for each token.
    """
    draw = np.random.default_rng(SEED)

    def linear(rows: int, columns: int) -> Array:
        weight = (draw.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)
        if columns == HIDDEN:
            weight[:, 0] = 0
        if rows == HIDDEN:
            weight[0] = 0
        return weight

    embedding = draw.standard_normal((VOCABULARY, HIDDEN)).astype(np.float32)
    embedding[:, 0] = CONSTANT
    head = linear(VOCABULARY, HIDDEN)
    head[:, 0] = [bias(tokenizer.decode([token], skip_special_tokens=False)) for token in range(VOCABULARY)]
    tensors: Tensors = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": head,
    }
    for index in range(LAYERS):
        layer = f"model.layers.{index}"
        for name, rows in (("q", HIDDEN), ("k", KV_HEADS * HEAD), ("v", KV_HEADS * HEAD)):
            tensors[f"{layer}.self_attn.{name}_proj.weight"] = linear(rows, HIDDEN)
            tensors[f"{layer}.self_attn.{name}_proj.bias"] = np.zeros(rows, np.float32)
        tensors[f"{layer}.self_attn.o_proj.weight"] = linear(HIDDEN, HIDDEN)
        tensors[f"{layer}.mlp.gate_proj.weight"] = linear(INTERMEDIATE, HIDDEN)
        tensors[f"{layer}.mlp.up_proj.weight"] = linear(INTERMEDIATE, HIDDEN)
        tensors[f"{layer}.mlp.down_proj.weight"] = linear(HIDDEN, INTERMEDIATE)
        tensors[f"{layer}.input_layernorm.weight"] = np.ones(HIDDEN, np.float32)
        tensors[f"{layer}.post_attention_layernorm.weight"] = np.ones(HIDDEN, np.float32)
    return tensors


def bias(text: str) -> float:
    """How much a token is wanted: bounded text, and JSON that ends.

    Markers, blanks, control characters and pieces of UTF-8 sequences come out only where a grammar leaves nothing else:
    under a JSON grammar a model that likes blanks goes on with them for ever.
    """
    if text in SPECIAL or text in MARKERS or not text.strip() or not (text.isascii() and text.isprintable()):
        return -4.0
    return 0.5 if text in CLOSERS else 0.0


def adapter_weights(seed: int) -> Tensors:
    """Random LoRA matrices; B isn't zero as it would be before training, or the adapter would change nothing."""
    draw = np.random.default_rng(seed)
    tensors: Tensors = {}
    for index in range(LAYERS):
        for name, rows in (("q", HIDDEN), ("v", KV_HEADS * HEAD)):
            module = f"base_model.model.model.layers.{index}.self_attn.{name}_proj"
            down, up = draw.standard_normal((RANK, HIDDEN)), draw.standard_normal((rows, RANK))
            tensors[f"{module}.lora_A.weight"] = (down / np.sqrt(HIDDEN)).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = (up / np.sqrt(RANK)).astype(np.float32)
    return tensors


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n")


def main(arguments: list[str]) -> None:
    """Write the model and its adapters."""
    parser = argparse.ArgumentParser(description="Write a tiny model and two adapters for old vLLM releases.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    write_model(folder / "model")
    write_adapter(folder / "adapter-a", SEED + 1)
    write_adapter(folder / "adapter-b", SEED + 2)


if __name__ == "__main__":
    main(sys.argv[1:])
