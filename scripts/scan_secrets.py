"""Looks for secrets in what this repository holds, recordings and archives included; needs no network.

The shapes of keys come from detect-secrets, without its guesses by entropy and by names of variables: in a repository
full of hashes and of keys that open nothing they cry wolf. What it lacks, the keys of model providers and of our own
gateway, is added here. Before it looks it makes a key of each of these kinds, and has to find them.
"""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import RegexBasedDetector

ROOT: Final = Path(__file__).parent.parent
GUESSES: Final = {
    "Base64 High Entropy String", "Hex High Entropy String", "Public IP (ipv4)", "Secret Keyword",
    "Artifactory Credentials", "Cloudant Credentials", "IBM Cloud IAM Key", "IBM COS HMAC Credentials",
    "SoftLayer Credentials",
}  # fmt: skip
"""Not looked for: the last five are guesses by names of variables too."""
KNOWN: Final = frozenset({"hunter2", "never-shown", "p%3Ass", "p%40ss", "pass", "secret", "sesame"})
"""Passwords in addresses that the tests write."""


class ModelKeys(RegexBasedDetector):
    """Keys of model providers, of the hub, and of the gateway's clients."""

    secret_type = "Model provider key"  # noqa: S105 - a name
    denylist = (
        re.compile(r"\bsk-(?:proj-|svcacct-|admin-|ant-[a-z]+\d+-|or-v1-)?[A-Za-z0-9_-]{40,}"),
        re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
        re.compile(r"\bac-[A-Za-z0-9_-]{43}\b"),
    )


SAMPLES: Final = {
    "sk-proj-" + "aB3_" * 12, "sk-ant-api03-" + "x9Y-" * 22, "hf_" + "Qw3r" * 9, "ac-" + "a1B2" * 10 + "xyz",
    "ghp_" + "a1B2" * 9, "AKIA" + "ABCD" * 4, "-----BEGIN RSA " + "PRIVATE KEY-----", "http://me:" + "mine@host/",
}  # fmt: skip
"""Put together here, so that no file holds one."""


def main() -> int:
    """Looks, and tells what it found.

    Returns:
        1 if there is a secret.
    """
    plugins = [kind() for name, kind in get_mapping_from_secret_type_to_class().items() if name not in GUESSES]
    plugins = [*(plugin for plugin in plugins if not isinstance(plugin, ModelKeys)), ModelKeys()]
    for sample in SAMPLES:
        assert any(found(plugins, f'key = "{sample}"')), f"a planted key is not found: {sample}"
    count = 0
    for name, text in texts():
        for kind, line in found(plugins, text):
            count += 1
            print(f"{name}:{line}: {kind}")
    if count:
        print(f"error: {count} secrets\ntry:   take them out, and make new ones: who has the repository has these")
    return 1 if count else 0


def found(plugins: list[RegexBasedDetector], text: str) -> Iterator[tuple[str, int]]:
    """Kind and line of each secret in a text; never the secret."""
    for plugin in plugins:
        for secret in plugin.analyze_string(text):
            if secret not in KNOWN:
                yield plugin.secret_type, text[: text.find(secret)].count("\n") + 1


def texts() -> Iterator[tuple[str, str]]:
    """All files that git keeps or would keep, those within others too."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        if path.is_file():
            yield from unpacked(name, path.read_bytes())


def unpacked(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    """A file's text, or those of the files in it."""
    if data.startswith(b"\x1f\x8b"):
        yield from unpacked(f"{name}!", gzip.decompress(data))
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    yield from unpacked(f"{name}{member.name}", file.read())
    else:
        yield name, data.decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main())
