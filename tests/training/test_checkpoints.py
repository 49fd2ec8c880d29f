"""Checkpoints: what comes back is what was saved, to the last bit, or a clear refusal."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dermseg.errors import ModelError, OutputError
from dermseg.training import checkpoints


def trained(steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a small network in channels-last layout and its Adam, some steps on."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.Conv2d(7, 5, 3))
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    for number in range(steps):
        step(network, optimizer, number)
    return network, optimizer


def step(network: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    x = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(number))
    loss: Tensor = network(x).square().mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def same_bits(one: Tensor, other: Tensor) -> bool:
    as_bytes = (t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other))
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*as_bytes)


class TestSmoke:
    def test_tensors_and_facts_come_back(self, tmp_path: Path) -> None:
        checkpoints.save(tmp_path / "c.safetensors", {"a": torch.arange(3)}, {"epoch": 2})
        tensors, facts = checkpoints.load(tmp_path / "c.safetensors")
        assert tensors["a"].tolist() == [0, 1, 2]
        assert facts == {"epoch": 2}


class TestExceptions:
    @pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"\xff" * 64, b"\x00" * 64])
    def test_garbage_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "bad.safetensors"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.safetensors"):
            checkpoints.load(path)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_file_cut_short_is_refused(self, tmp_path: Path, share: float) -> None:
        path = tmp_path / "short.safetensors"
        checkpoints.save(path, {"a": torch.rand(1000)}, {})
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(ModelError, match=r"short\.safetensors"):
            checkpoints.load(path)

    @pytest.mark.parametrize(
        "metadata", [None, {"format": "pt"}, {"dermseg": "{not json"}], ids=str
    )
    def test_other_peoples_safetensors_are_refused(
        self, tmp_path: Path, metadata: dict[str, str] | None
    ) -> None:
        path = tmp_path / "other.safetensors"
        save_file({"a": torch.rand(3)}, path, metadata=metadata)
        with pytest.raises(ModelError, match=r"other\.safetensors"):
            checkpoints.load(path)

    def test_pickles_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "pickle.pt"
        torch.save({"a": torch.rand(3)}, path)
        with pytest.raises(ModelError, match=r"pickle\.pt"):
            checkpoints.load(path)

    @pytest.mark.parametrize("name", ["missing.safetensors", "."])
    def test_missing_files_and_folders_are_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ModelError):
            checkpoints.load(tmp_path / name)

    def test_a_save_that_fails_leaves_the_old_file_and_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "c.safetensors"
        checkpoints.save(path, {"a": torch.zeros(3)}, {"epoch": 1})

        def full(self: Path, _content: bytes) -> int:
            with self.open("wb") as handle:
                handle.write(b"half a")
            raise OSError("No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space"):
            checkpoints.save(path, {"a": torch.ones(3)}, {"epoch": 2})
        assert checkpoints.load(path)[1] == {"epoch": 1}
        assert list(tmp_path.iterdir()) == [path]


class TestFeatures:
    def test_every_kind_of_tensor_comes_back_bit_by_bit(self, tmp_path: Path) -> None:
        shared = torch.rand(4, 4)
        tensors = {
            "float32": torch.tensor([0.1, -0.0, float("inf"), float("nan"), 1e-42]),
            "float64": torch.rand(3, dtype=torch.float64),
            "bfloat16": torch.rand(3).bfloat16(),
            "int64": torch.tensor(2**62 + 1),
            "bool": torch.tensor([True, False]),
            "empty": torch.zeros(0, 3),
            "scalar": torch.tensor(7.0),
            "channels last": torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
            "a parameter": nn.Parameter(torch.rand(3)),
            "a transpose": shared.T,
        }
        before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        checkpoints.save(tmp_path / "c.safetensors", tensors, {})
        loaded, _ = checkpoints.load(tmp_path / "c.safetensors")
        assert loaded.keys() == before.keys()
        for name, tensor in before.items():
            assert same_bits(loaded[name], tensor), name

    @pytest.mark.parametrize(
        "facts",
        [
            {},
            {"epoch": 3, "log": [{"loss": 0.1 + 0.2}], "fold": None, "deep": {"flip": True}},
            {"naïve": '日本語 " \n'},
        ],
        ids=["none", "nested", "unicode"],
    )
    def test_facts_come_back(self, tmp_path: Path, facts: dict[str, Any]) -> None:
        checkpoints.save(tmp_path / "c.safetensors", {"a": torch.zeros(1)}, facts)
        assert checkpoints.load(tmp_path / "c.safetensors")[1] == facts
        json.dumps(facts)

    def test_a_second_save_replaces_the_first(self, tmp_path: Path) -> None:
        path = tmp_path / "c.safetensors"
        for number in (1, 2):
            checkpoints.save(path, {"a": torch.full((3,), number)}, {"epoch": number})
        tensors, facts = checkpoints.load(path)
        assert tensors["a"].tolist() == [2, 2, 2]
        assert facts == {"epoch": 2}
        assert list(tmp_path.iterdir()) == [path]

    def test_prefixes_come_off_as_they_went_on(self) -> None:
        one, other = torch.zeros(1), torch.ones(1)
        together = checkpoints.prefixed("network", {"a/b": one}) | checkpoints.prefixed(
            "net", {"a/b": other, "network/c": other}
        )
        assert list(together) == ["network/a/b", "net/a/b", "net/network/c"]
        assert checkpoints.under("network", together) == {"a/b": one}
        assert set(checkpoints.under("net", together)) == {"a/b", "network/c"}

    def test_an_untrained_optimiser_comes_back_too(self) -> None:
        _, optimizer = trained(steps=0)
        tensors = checkpoints.optimizer_tensors(optimizer)
        checkpoints.restore_optimizer(optimizer, tensors)
        assert tensors == checkpoints.optimizer_tensors(optimizer) == {}

    def test_the_optimiser_comes_back_bit_by_bit_in_the_parameters_layout(
        self, tmp_path: Path
    ) -> None:
        network, optimizer = trained()
        before = checkpoints.optimizer_tensors(optimizer)
        assert {name.split("/")[1] for name in before} == {"step", "exp_avg", "exp_avg_sq"}
        checkpoints.save(tmp_path / "c.safetensors", before, {})
        _, fresh = trained(steps=1)
        checkpoints.restore_optimizer(fresh, checkpoints.load(tmp_path / "c.safetensors")[0])
        after = checkpoints.optimizer_tensors(fresh)
        assert after.keys() == before.keys()
        for name, tensor in before.items():
            assert same_bits(after[name], tensor), name
            assert after[name].stride() == tensor.stride(), name
        first = next(network.parameters())
        assert not first.is_contiguous()  # or the layout was never put to the test
        assert fresh.param_groups[0]["lr"] == 0.01

    def test_a_restored_training_takes_the_same_next_steps_to_the_last_bit(
        self, tmp_path: Path
    ) -> None:
        network, optimizer = trained()
        state = checkpoints.prefixed("network", network.state_dict())
        state |= checkpoints.prefixed("optimizer", checkpoints.optimizer_tensors(optimizer))
        checkpoints.save(tmp_path / "c.safetensors", state, {})

        other, its_optimizer = trained(steps=1)
        loaded, _ = checkpoints.load(tmp_path / "c.safetensors")
        other.load_state_dict(checkpoints.under("network", loaded))
        checkpoints.restore_optimizer(its_optimizer, checkpoints.under("optimizer", loaded))
        before = next(network.parameters()).detach().clone()
        for number in (10, 11, 12):
            step(network, optimizer, number)
            step(other, its_optimizer, number)
        assert not torch.equal(next(network.parameters()), before)
        for (name, one), two in zip(
            network.state_dict().items(), other.state_dict().values(), strict=True
        ):
            assert same_bits(one, two), name
