"""Turns a GGUF file into bfloat16 safetensors.

Run as a script by a Python that has torch and transformers, and not imported by the package::

    python convert_gguf.py model.gguf output_folder
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """Writes model, tokenizer and chat template of ``source`` into the folder ``target``."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    print("reading the tokenizer", flush=True)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    _check_chat(tokenizer)

    print("decoding the weights", flush=True)
    decoded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    config = AutoConfig.from_pretrained(source.parent, gguf_file=source.name)
    # The decoded model still calls itself quantised, and would be saved as such: a fresh one takes its weights.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(decoded.state_dict())
    plain.generation_config = decoded.generation_config

    print("writing safetensors", flush=True)
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _check_chat(AutoTokenizer.from_pretrained(target))
    for path in target.iterdir():
        path.chmod(0o644)  # a server in a container is another user


def _check_chat(tokenizer: object) -> None:
    messages = [{"role": "user", "content": "ping"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)  # type: ignore[attr-defined]
    if "ping" not in text or not text.rstrip().endswith("assistant"):
        raise SystemExit(f"the chat template does not work: {text!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
