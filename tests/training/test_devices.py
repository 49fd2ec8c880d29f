"""Where a training runs: what is there, what is refused, and in which arithmetic."""

import pytest
import torch

from dermseg.errors import UsageError
from dermseg.settings import Precision
from dermseg.training.devices import Device, find_device


class TestFindDevice:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_the_processor_is_always_there(self, precision: Precision) -> None:
        assert find_device("cpu", precision) == Device(torch.device("cpu"), precision)

    def test_auto_takes_what_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert find_device("auto", "float32") == Device(torch.device("cpu"), "float32")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert find_device("auto", "float32").place.type == "cuda"

    @pytest.mark.parametrize(
        ("features", "expected"),
        [
            ({}, "float32"),
            ({"avx512_bf16": True}, "bfloat16"),
            ({"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ],
        ids=str,
    )
    def test_precision_follows_the_processor(
        self, monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], expected: str
    ) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
        assert find_device("cpu", "auto").precision == expected

    def test_no_gpu_is_an_error_not_a_fallback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UsageError, match="no usable NVIDIA GPU"):
            find_device("cuda", "auto")

    @pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "tpu0", "mps", "meta"])
    def test_unknown_names_are_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match="choose auto, cpu or cuda"):
            find_device(name, "auto")


class TestDevice:
    @pytest.mark.parametrize(
        ("precision", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
    )
    def test_networks_run_in_its_arithmetic(
        self, precision: Precision, expected: torch.dtype
    ) -> None:
        with Device(torch.device("cpu"), precision).autocast():
            assert torch.nn.Linear(2, 2)(torch.rand(1, 2)).dtype == expected

    def test_its_name_says_how_many_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.cpu_count", lambda: 7)
        assert Device(torch.device("cpu"), "float32").name.endswith(", 7 cores")


def test_a_pytorch_that_knows_no_processor_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    found = find_device("cpu", "auto")
    assert found.precision == "float32"
    assert "cores" in found.name
