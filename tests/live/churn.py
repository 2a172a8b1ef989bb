"""Loads, uses and unloads adapters for some seconds, and prints what came of it as JSON. Two of these run at once.

    python churn.py BASE_URL SECONDS OWN_NAME PATH_A PATH_B

One name is shared with the other process, which unloads it whenever it likes; one is its own, and is replaced by
another adapter time and again.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

from abstractcore import AdapterError, ProviderError, VLLMProvider

SHARED = "churn-shared"


def main(base_url: str, seconds: float, own: str, *paths: str) -> dict[str, object]:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    unexplained: list[str] = []
    with VLLMProvider(base_url=base_url) as llm:

        def use(name: str) -> str:
            response = llm.generate("Once upon a time", model=name, temperature=0.0, max_tokens=6, raw_prompt=True)
            if response.model != name:
                wrong.append(f"{name} was asked, {response.model} answered")
            return response.content

        expected = {}
        for path in paths:
            llm.load_adapter(own, path, replace=True)
            expected[path] = use(own)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for path in paths:
                try:
                    counts["loads"] += llm.load_adapter(SHARED, paths[0]).endswith("successfully")
                    if use(SHARED) != expected[paths[0]]:
                        wrong.append(f"{SHARED} answers as another adapter would")
                    counts["answers"] += 1
                    llm.unload_adapter(SHARED)
                    counts["unloads"] += 1
                except AdapterError as error:
                    known = ("another client unloaded it", "is not loaded", "other clients load and unload")
                    counts["lost to the other process"] += 1
                    if not any(words in error.message for words in known):
                        unexplained.append(str(error))
                except ProviderError as error:
                    unexplained.append(f"{type(error).__name__}: {error}")
                llm.load_adapter(own, path, replace=True)
                counts["replaced"] += 1
                counts["answers"] += 1
                if use(own) != expected[path]:
                    wrong.append(f"{own} answers as another adapter would, after it was replaced")
        llm.unload_adapter(own)
    return {"counts": counts, "wrong": wrong, "unexplained": unexplained, "differ": len(set(expected.values())) > 1}


if __name__ == "__main__":
    url, limit, *rest = sys.argv[1:]
    print(json.dumps(main(url, float(limit), *rest)))
