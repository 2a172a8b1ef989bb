from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.deploy.hardware import from_driver, known_names, parse_gpus, read_topology
from abstractcore.deploy.nvidia_smi import parse_gpus as parse_rows
from abstractcore.errors import ConfigurationError
from abstractcore.vllm_facts.gpus import GIB


@pytest.mark.parametrize(
    ("text", "names", "gib", "capability"),
    [
        ("4xL4", ["L4"] * 4, 22.03, (8, 9)),
        ("2xV100-16GB", ["V100-16GB"] * 2, 15.77, (7, 0)),
        ("1xH100", ["H100"], 79.19, (9, 0)),
        ("H100", ["H100"], 79.19, (9, 0)),
        ("2 x a100-80gb", ["A100-80GB"] * 2, 79.25, (8, 0)),
        ("1xA100-SXM4-40GB", ["A100-40GB"], 39.39, (8, 0)),
        ("8xNVIDIA H100 80GB HBM3", ["H100"] * 8, 79.19, (9, 0)),
        ("1x4090", ["RTX4090"], 23.52, (8, 9)),
        ("2xWONDER@47.5GiB/9.0", ["WONDER"] * 2, 47.5, (9, 0)),
    ],
)
def test_gpus_as_people_write_them(text: str, names: list[str], gib: float, capability: tuple[int, int]) -> None:
    found = parse_gpus(text)
    assert [gpu.name for gpu in found] == names
    assert found[0].total == int(gib * GIB)
    assert found[0].capability == capability


def test_different_cards() -> None:
    assert [gpu.name for gpu in parse_gpus("1xL4,2xT4")] == ["L4", "T4", "T4"]


def test_an_unknown_card_gets_the_list_and_the_way_out() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_gpus("1xH1000")
    assert "'H1000' is not known" in caught.value.message
    assert "A100-80GB" in (caught.value.why or "")
    assert "did you mean H100?" in (caught.value.hint or "")
    assert "--gpus 1xH1000@24GiB/8.9" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "x", "0xL4", "4xL4,,", "-1xL4", "4x", "cpu,1xL4", "9999999xL4"])
def test_nonsense(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_gpus(text)


@given(st.text(max_size=30))
def test_any_text_is_gpus_or_an_error(text: str) -> None:
    try:
        outcome: object = parse_gpus(text)
    except ConfigurationError as error:
        outcome = error.message
    assert outcome


@pytest.mark.parametrize("name", known_names())
def test_every_known_name_is_read(name: str) -> None:
    assert parse_gpus(f"2x{name}")[0].name == name


# Rows as nvidia-smi prints them; the driver's total is larger than what CUDA hands out.
SMI = ["0, NVIDIA L4, 8.9, 23034, 22563", "1, NVIDIA L4, 8.9, 23034, 3000", "2, [N/A], [N/A], [N/A], [N/A]"]


def test_nvidia_smi() -> None:
    first, second = from_driver(parse_rows(SMI))
    assert first.name == "L4"
    assert first.total == int(22.03 * GIB)
    assert first.free is not None
    assert second.free is not None
    assert first.free > second.free > 0


def test_a_card_that_only_the_driver_knows() -> None:
    (found,) = from_driver(parse_rows(["0, NVIDIA Wonder 9000, 9.9, 50000, 50000"]))
    assert found.name == "NVIDIA Wonder 9000"
    assert 0.95 < found.total / (50000 * 2**20) < 1


def test_no_driver() -> None:
    assert from_driver(parse_rows(["NVIDIA-SMI has failed because it couldn't communicate with the driver."])) == ()


LINKED = """\tGPU0\tGPU1\tCPU Affinity
GPU0\t X \tNV12\t0-63
GPU1\tNV12\t X \t0-63
"""


def test_links() -> None:
    assert read_topology(LINKED) == "nvlink"
    assert read_topology(LINKED.replace("NV12", "PHB")) == "pcie"
    assert read_topology("") == "pcie"
