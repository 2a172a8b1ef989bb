"""The images that vLLM's makers publish, pinned by release: ``latest`` changes under a server that runs."""

from __future__ import annotations

from typing import Final

from .versions import Version

GPU: Final = "vllm/vllm-openai"
CPU: Final = "public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo"
"""For x86-64, as the documentation names it."""


def image_for(version: Version, *, cpu: bool = False) -> str:
    """The image of a release. Which release a generation of GPUs needs is the plan's to say."""
    return f"{CPU if cpu else GPU}:v{'.'.join(map(str, version))}"
