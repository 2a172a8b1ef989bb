"""Gives every reader of bytes from outside inputs that nobody would write, for as long as one likes.

    python bench/fuzz.py [--inputs 100000 | --minutes N] [--splits 10000000] [--engine auto] [TARGET...]
    python bench/fuzz.py TARGET --again NUMBER|FILE

The targets are those of ``tests/fuzz``, where each says what an input may do: be read, or be refused by an error of
ours. Anything else, and anything that takes longer than ten seconds, is a fault: its input is written to a file, and
the command to run it again is printed. With atheris, which comes into an environment of its own, inputs are made by
what they reach; without it, of recordings, by their number. One target after the other, one process at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
import venv
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
PATIENCE = 10
"""Seconds that one input may take."""
FEWER = 10
"""By this the inputs are divided where each costs milliseconds."""


def main() -> None:
    """Runs one target after the other, and writes what came of it."""
    options = _options()
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    if options.again:
        _again(options)
        return
    if options.child:
        _child(options)
        return
    from tests.fuzz import TARGETS

    unknown = set(options.targets) - set(TARGETS) - {"splits"}
    if unknown:
        sys.exit(f"error: there is no target {', '.join(sorted(unknown))}\ntry:   {' '.join(TARGETS)} splits")
    python = _atheris(options) if options.engine != "random" else None
    rows = []
    for name in options.targets or [*TARGETS, "splits"]:
        row = _run(name, options, python)
        rows.append(row)
        print(f"{name:18} {row['inputs']:>11,} inputs {row['seconds']:>7.1f} s  {row['faults']} faults", flush=True)
    _write(rows, options)
    sys.exit(any(row["faults"] for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--inputs", type=int, default=100_000, help="of each target (a tenth where they are dear)")
    parser.add_argument("--splits", type=int, default=10_000_000, help="places at which event streams are cut")
    parser.add_argument("--minutes", type=float, help="in all, in place of a number of inputs")
    parser.add_argument("--short", action="store_true", help="a thousand inputs each, and ten thousand places")
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "abstractcore" / "fuzz")
    parser.add_argument("--again", metavar="NUMBER|FILE", help="run one input again")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.short:
        options.inputs, options.splits = 1000, 10_000
    return options


def _atheris(options: argparse.Namespace) -> Path | None:
    """A Python that has atheris; made once."""
    python = Path(options.folder / "venv" / "bin" / "python")
    if not python.exists():
        venv.create(options.folder / "venv", with_pip=True)
    has = subprocess.run([python, "-c", "import atheris, msgspec, uvicorn"], capture_output=True, check=False)
    if has.returncode:
        pip = [python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"]
        packages = [python, "-m", "pip", "install", "--quiet", "--group", f"{ROOT / 'pyproject.toml'}:fuzz", ROOT]
        for command in (pip, packages):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(
                    f"no atheris here, so inputs are made of recordings: {done.stderr.strip()[-200:]}", file=sys.stderr
                )
                return None
    return python


def _run(name: str, options: argparse.Namespace, python: Path | None) -> dict[str, Any]:
    """One target in a process of its own: a fault in native code must not end the others."""
    arguments = [str(python or sys.executable), str(Path(__file__)), name, "--child", "--folder", str(options.folder)]
    arguments += ["--inputs", str(options.inputs), "--splits", str(options.splits)]
    arguments += ["--engine", "atheris" if python and name != "splits" else "random"]
    if options.minutes:
        arguments += ["--minutes", str(options.minutes / max(1, len(options.targets) or 60))]
    began = time.monotonic()
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if line.startswith('{"inputs"')]
    row: dict[str, Any] = json.loads(said[-1]) if said else {"inputs": 0, "faults": 1, "outcomes": {}}
    if done.returncode not in (0, 1) or not said:
        row["faults"] = max(1, row["faults"])
        print(f"{name}: the process ended with {done.returncode}", file=sys.stderr)
    return {"target": name, "seconds": round(time.monotonic() - began, 1), **row}


def _child(options: argparse.Namespace) -> None:
    [name] = options.targets
    if name == "splits":
        _splits(options)
    elif options.engine == "atheris":
        _guided(name, options)
    else:
        _numbered(name, options)


class _Watched:
    """A target whose faults are counted, written down and told."""

    def __init__(self, name: str, folder: Path) -> None:
        from tests.fuzz import TARGETS
        from tests.fuzz.mutate import Mutator

        self.target = TARGETS[name]
        self.seeds = list(self.target.seeds())
        self.mutator = Mutator(name, self.seeds, self.target.tokens)
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.outcomes: Counter[str] = Counter()
        self._known: set[tuple[str, int]] = set()
        self.faults = 0
        signal.signal(signal.SIGALRM, _late)

    def take(self, data: bytes) -> None:
        signal.alarm(PATIENCE)
        try:
            self.outcomes[self.target.outcome(data)] += 1
        except Exception as fault:  # noqa: BLE001 - a fault is what is looked for
            self._tell(fault, data)
        finally:
            signal.alarm(0)

    def _tell(self, fault: Exception, data: bytes) -> None:
        frame = traceback.extract_tb(fault.__traceback__)[-1]
        self.outcomes["fault"] += 1
        if (frame.filename, frame.lineno or 0) in self._known:
            return
        self._known.add((frame.filename, frame.lineno or 0))
        self.faults += 1
        path = self.folder / f"fault-{self.faults}"
        path.write_bytes(data)
        print(f"{self.target.name}: {type(fault).__name__}: {str(fault)[:200]}", file=sys.stderr)
        print(f"  at {frame.filename}:{frame.lineno}", file=sys.stderr)
        print(f"  again: python bench/fuzz.py {self.target.name} --again {path}", file=sys.stderr, flush=True)

    def told(self) -> str:
        inputs = sum(self.outcomes.values())
        return json.dumps({"inputs": inputs, "faults": self.faults, "outcomes": dict(self.outcomes)})


def _late(*_: Any) -> NoReturn:
    raise TimeoutError(f"it takes longer than {PATIENCE} s")


def _numbered(name: str, options: argparse.Namespace) -> None:
    watched = _Watched(name, options.folder)
    wanted = options.inputs // (FEWER if watched.target.slow else 1)
    until = time.monotonic() + options.minutes * 60 if options.minutes else None
    number = 0
    while time.monotonic() < until if until else number < wanted:
        watched.take(watched.mutator.make(number))
        number += 1
    print(watched.told())


def _guided(name: str, options: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=["abstractcore"]):
        watched = _Watched(name, options.folder)
    wanted = options.inputs // (FEWER if watched.target.slow else 1)
    corpus = watched.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for at, seed in enumerate(watched.seeds):
        (corpus / f"seed-{at}").write_bytes(seed)
    done = 0

    def one(data: bytes) -> None:
        nonlocal done
        watched.take(data)
        done += 1
        if not options.minutes and done >= wanted:
            print(watched.told(), flush=True)
            os._exit(0)

    def change(data: bytes, most: int, seed: int) -> bytes:
        """Half of the inputs by the engine, half by what knows JSON."""
        if seed % 2:
            return bytes(atheris.Mutate(data, most))
        return watched.mutator.changed(data, Random(seed))[:most]  # noqa: S311 - to be made again, not secret

    limits = [f"-max_total_time={int(options.minutes * 60)}"] if options.minutes else ["-runs=1000000000"]
    quiet = ["-verbosity=0", "-close_fd_mask=0", f"-artifact_prefix={watched.folder}/", "-timeout=60", "-max_len=65536"]
    atheris.Setup([sys.argv[0], str(corpus), *limits, *quiet], one, custom_mutator=change)
    atheris.Fuzz()


def _splits(options: argparse.Namespace) -> None:
    """Event streams cut at each of their places, and at several: each gives what the standard says of the whole."""
    from tests.fuzz import TARGETS
    from tests.fuzz.mutate import Mutator
    from tests.fuzz.wire import cut, read_events, standard

    target = TARGETS["sse"]
    mutator = Mutator("splits", list(target.seeds()), target.tokens)
    places = faults = number = 0
    while places < options.splits and not faults:
        stream = mutator.make(number)[:2048]
        whole = standard(stream)
        random = Random(number)  # noqa: S311 - same
        for at in range(len(stream) + 1):
            faults += read_events([stream[:at], stream[at:]]) != whole
        places += len(stream) + 1
        for _ in range(20):
            pieces = cut(stream, random)
            faults += read_events(pieces) != whole
            places += len(pieces) - 1
        if faults:
            print(f"splits: stream {number} is read in another way when it is cut", file=sys.stderr)
        number += 1
    print(json.dumps({"inputs": places, "faults": faults, "outcomes": {"streams": number}}))


def _again(options: argparse.Namespace) -> None:
    [name] = options.targets
    watched = _Watched(name, options.folder)
    path = Path(options.again)
    data = watched.mutator.make(int(options.again)) if options.again.isdigit() else path.read_bytes()
    print(f"{name}: {len(data)} bytes: {data[:200]!r}")
    print(watched.target.outcome(data))


def _write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.targets or options.short:
        return
    RESULTS.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    found = {"machine": machine, "rows": rows}
    (RESULTS / "fuzz.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = [f"Measured on {machine}.", "", "| target | inputs | seconds | faults |", "|---|---|---|---|"]
    lines += [f"| {row['target']} | {row['inputs']:,} | {row['seconds']:.0f} | {row['faults']} |" for row in rows]
    (RESULTS / "fuzz.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
