from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from abstractcore.cli.main import cli
from abstractcore.errors import ConfigurationError
from tests.unit.deploy.goldens import configs

LOGS = Path(__file__).parents[2] / "recordings" / "vllm-logs"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return folder(tmp_path, "Qwen2.5-Coder-7B")


def folder(tmp_path: Path, name: str) -> str:
    path = tmp_path / name
    path.mkdir()
    (path / "config.json").write_text(json.dumps(configs()[name]["config.json"]))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments])


def test_the_page(model: str) -> None:
    found = run(model, "--gpus", "4xL4", "--context", "8192")
    assert found.exit_code == 0
    assert found.stdout.startswith("FIT  ")
    assert "WWWW" in found.stdout
    assert "vLLM will print: GPU KV cache size: " in found.stdout
    assert f"vllm serve {model} --dtype bfloat16 --max-model-len 8192" in found.stdout
    assert "runner-up: " in found.stdout


def test_json(model: str) -> None:
    found = run(model, "--gpus", "4xL4", "--context", "8192", "--json")
    plan = json.loads(found.stdout)
    assert plan["schema"] == "abstractcore.plan/1"
    assert plan["verdict"] == "FIT"
    assert plan["kv_cache"]["low"]["tokens"] <= plan["kv_cache"]["best"]["tokens"] <= plan["kv_cache"]["high"]["tokens"]
    assert plan["log_lines"][0] == (
        f"GPU KV cache size: {plan['kv_cache']['best']['tokens']:,} tokens, Maximum concurrency for 8,192 tokens per "
        f"request: {plan['kv_cache']['best']['concurrency']:.2f}x"
    )
    assert plan["ranks"][0]["weights"][1] > 15_000_000_000


def test_only_the_command(model: str) -> None:
    found = run(model, "--gpus", "1xH100", "--command")
    assert found.exit_code == 0
    assert found.stdout.count("\n") == 1
    assert found.stdout.startswith(f"vllm serve {model} ")


def test_a_refusal_exits_with_3(tmp_path: Path) -> None:
    model = folder(tmp_path, "Qwen3-Coder-30B-A3B")
    page = run(model, "--gpus", "1xL4")
    assert page.exit_code == 3
    assert page.stdout.startswith("REFUSE  ")
    assert "least change:   4xL4" in page.stdout
    assert json.loads(run(model, "--gpus", "1xL4", "--json").stdout)["change"] == "4xL4"
    command = run(model, "--gpus", "1xL4", "--command")
    assert (command.exit_code, command.stdout) == (3, "")
    assert "vLLM refuses" in command.stderr


def test_flags_that_a_user_fixes(model: str) -> None:
    found = json.loads(
        run(model, "--gpus", "4xL4", "--tp", "2", "--utilization", "0.8", "--max-num-seqs", "7", "--json").stdout
    )
    assert (found["flags"]["tp"], found["flags"]["utilization"], found["flags"]["max_num_seqs"]) == (2, 0.8, 7)


def test_as_is_takes_vllms_defaults(model: str) -> None:
    found = json.loads(run(model, "--gpus", "4xL4", "--as-is", "--json").stdout)
    flags = found["flags"]
    assert (flags["tp"], flags["replicas"], flags["max_num_seqs"], flags["max_model_len"]) == (1, 1, 256, 32768)


def test_bad_input(tmp_path: Path, model: str) -> None:
    for arguments, said in (
        ((model, "--gpus", "1xWonder"), "is not known"),
        ((str(tmp_path), "--gpus", "1xL4"), "has no config.json"),
        (("no such model", "--gpus", "1xL4"), "there is no model"),
        ((model, "--gpus", "1xL4", "--vllm-version", "latest"), "is no release"),
    ):
        found = run(*arguments)
        assert isinstance(found.exception, ConfigurationError)
        assert said in found.exception.message


def test_without_gpus(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "no GPUs" in str(run(model).exception)


def test_learning_from_a_log(tmp_path: Path) -> None:
    model = folder(tmp_path, "SmolLM2-135M-hf")
    log = tmp_path / "start.log"
    log.write_text(
        "INFO non-default args: {'gpu_memory_utilization': 0.9, 'max_model_len': 4096, 'max_num_seqs': 256}\n"
        "INFO Model loading took 0.30 GiB memory and 1.2 seconds\n"
        "INFO Available KV cache memory: 15.25 GiB\n"
        "INFO GPU KV cache size: 710,784 tokens\n"
    )
    ask = (model, "--gpus", "1xL4", "--context", "4096", "--max-num-seqs", "256", "--json")
    before = json.loads(run(*ask).stdout)
    learned = run(*ask, "--learn", str(log))
    after = json.loads(run(*ask, "--utilization", "0.8").stdout)
    assert "learned from" in learned.stderr
    assert not before["measured"]
    assert after["measured"]
    assert after["kv_cache"]["low"] == after["kv_cache"]["high"]
    assert after["ranks"][0]["weights"][1] == int(0.30 * 2**30)
    assert after["ranks"][0]["kv"][1] == pytest.approx(15.25 * 2**30 - 0.1 * after["ranks"][0]["total"], abs=2)
    elsewhere = json.loads(run(model, "--gpus", "1xT4", "--context", "4096", "--json").stdout)
    assert not elsewhere["measured"]


def test_a_log_of_a_start_that_failed_teaches_nothing(model: str) -> None:
    found = run(model, "--gpus", "1xL4", "--learn", str(LOGS / "port-taken.log"))
    assert isinstance(found.exception, ConfigurationError)
    assert "no measurements" in found.exception.message


def test_a_real_log_is_read(model: str) -> None:
    found = run(model, "--gpus", "cpu", "--context", "2048", "--learn", str(LOGS / "started.log"))
    assert "tokens 46592" in found.stderr
