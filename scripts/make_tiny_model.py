"""Makes what the live tests serve: a tiny random Qwen2 that starts fast, and LoRA adapters for any model.

Run by the Python of an installed vLLM (it has torch, transformers and tokenizers)::

    python make_tiny_model.py model FOLDER
    python make_tiny_model.py lora FOLDER --base MODEL_FOLDER --seed 1

The answers of the model mean nothing; it serves tests of protocols, limits and counts. Each folder appears complete
or not at all.
"""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

HIDDEN = 128
LAYERS = 2
VOCABULARY = 1024
RANK = 8
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_model(folder: Path) -> None:
    """Writes a Qwen2 with random weights and a byte-level tokenizer trained on some Python source."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=alphabet)
    texts = [inspect.getsource(module) for module in (argparse, textwrap, inspect)]
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[2], chat_template=CHAT_TEMPLATE
    )

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=wrapped.pad_token_id,
        eos_token_id=wrapped.eos_token_id,
        initializer_range=0.2,  # peaked enough that greedy answers don't hang on rounding
    )
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    wrapped.save_pretrained(folder)


def make_lora(folder: Path, base: Path, seed: int) -> None:
    """Writes a random adapter in peft's format; a different seed gives a visibly different answer."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((base / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    widths = {"q_proj": heads * head, "v_proj": config["num_key_value_heads"] * head}
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for module, width in widths.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, hidden, generator=generator) * hidden**-0.5
            tensors[f"{name}.lora_B.weight"] = torch.randn(width, RANK, generator=generator) * 0.2
    folder.mkdir(parents=True)
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}, folder / "adapter_model.safetensors"
    )
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(widths),
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter, indent=2))


def at_once(folder: Path, make: Callable[[Path], None]) -> None:
    """Makes the folder under another name and renames it when it is complete."""
    scratch = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        make(scratch)
        for path in scratch.iterdir():
            path.chmod(0o644)  # a server in a container is another user
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("model").add_argument("folder", type=Path)
    lora = kinds.add_parser("lora")
    lora.add_argument("folder", type=Path)
    lora.add_argument("--base", type=Path, required=True)
    lora.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    if arguments.folder.exists():
        return
    if arguments.kind == "model":
        at_once(arguments.folder, make_model)
    else:
        at_once(arguments.folder, lambda scratch: make_lora(scratch, arguments.base, arguments.seed))


if __name__ == "__main__":
    main()
