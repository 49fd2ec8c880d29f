"""Where a training runs: what is there, what is refused, and in which arithmetic."""

from pathlib import Path

import numpy as np
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


class TestHold:
    @pytest.fixture
    def arrays(self, tmp_path: Path) -> list[np.ndarray]:
        """Return two memory-mapped arrays of 100 bytes together."""
        found = []
        for number, size in enumerate((75, 25)):
            np.save(tmp_path / f"{number}.npy", np.arange(size, dtype=np.uint8))
            found.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
        return found

    def test_a_processor_reads_them_from_the_disk(self, arrays: list[np.ndarray]) -> None:
        held = Device(torch.device("cpu"), "float32").hold(arrays)
        assert all(one is other for one, other in zip(held, arrays, strict=True))

    @pytest.mark.parametrize(("free", "fits"), [(200, True), (199, False)])
    def test_a_card_takes_them_if_half_of_it_stays_free(
        self, arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
    ) -> None:
        monkeypatch.setattr(Device, "is_gpu", True)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _place: (free, 10**9))
        held = Device(torch.device("cpu"), "float32").hold(arrays)
        assert [isinstance(pixels, torch.Tensor) for pixels in held] == [fits, fits]
        assert [np.asarray(p).tolist() for p in held] == [a.tolist() for a in arrays]


def test_a_pytorch_that_knows_no_processor_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    found = find_device("cpu", "auto")
    assert found.precision == "float32"
    assert "cores" in found.name
