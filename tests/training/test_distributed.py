"""Several processes: the same network as from one, written by the first, and gone on with.

torchrun runs this file too: the lines at its end are what each process does.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dermseg.errors import DermsegError, UsageError
from dermseg.settings import DataSettings, TrainingSettings
from dermseg.training import checkpoints, distributed, loop, networks, trainer
from dermseg.training.devices import find_device

EPOCHS = 3


class Frozen(nn.BatchNorm2d):
    """A batch norm that keeps its statistics, so that an image's share does not matter."""

    def train(self, _mode: bool = True) -> "Frozen":
        super().train(False)
        return self


class Plain(nn.Module):
    """A network in which no image sees another, and nothing is left to chance."""

    def __init__(self, channels: int, _dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1),
            Frozen(6),
            nn.ReLU(),
            nn.Conv2d(6, 1, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits[:, 0]


SETTINGS = TrainingSettings(
    network="plain",
    height=32,
    width=32,
    epochs=EPOCHS,
    batch_size=4,
    dropout=0.0,
    fold=0,
    ema_epochs=1.0,
    schedule="one-cycle",
    precision="float32",
)


def train(data: Path, run: Path, seen: Path, batch_size: int = 4) -> None:
    """Train, and leave in `seen` the batches that the network was fed, and dropout's last seed."""
    batches: list[Tensor] = []
    plain_prepare = trainer.prepare

    def prepare(*arguments: Any) -> tuple[Tensor, Tensor]:
        channels, targets = plain_prepare(*arguments)
        batches.append(torch.cat((channels, targets.unsqueeze(1)), 1))
        return channels, targets

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "plain", Plain)
        patch.setattr(trainer, "prepare", prepare)
        settings = replace(SETTINGS, batch_size=batch_size)
        loop.train(data, run, settings, DataSettings(device="cpu"))
    torch.save((torch.stack(batches), torch.initial_seed()), seen)


def torchrun(*arguments: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Start this file in several processes and wait for their end."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), __file__, *map(str, arguments)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def tensors(run: Path, name: str = "weights") -> dict[str, Tensor]:
    return checkpoints.load(run / f"{name}.safetensors")[0]


def losses(run: Path) -> list[float]:
    with (run / "log.csv").open(newline="") as handle:
        return [float(row["loss"]) for row in csv.DictReader(handle)]


@pytest.mark.slow
class TestTorchrun:
    def test_two_processes_train_what_one_does(self, toy_data: Path, tmp_path: Path) -> None:
        one, two, killed, mixed = (tmp_path / name for name in ("one", "two", "killed", "mixed"))
        train(toy_data, one, tmp_path / "seen-by-one")
        done = torchrun("train", toy_data, two, tmp_path)
        assert done.returncode == 0, done.stderr

        # The same images, changed alike, in the same steps; each process had its half of a batch.
        whole, seed = torch.load(tmp_path / "seen-by-one")
        (half, its_seed), (other, other_seed) = (torch.load(tmp_path / f"seen-{k}") for k in (0, 1))
        assert whole.shape == (EPOCHS * 3, 4, 8, 32, 32)
        assert torch.equal(torch.cat((half, other), 1), whole)
        assert its_seed == seed != other_seed  # what is dropped differs between processes
        for name in ("weights", "checkpoint"):
            mine, theirs = tensors(one, name), tensors(two, name)
            assert mine.keys() == theirs.keys()  # names know nothing of how many there were
            for key, tensor in mine.items():
                torch.testing.assert_close(theirs[key], tensor, atol=1e-6, rtol=1e-4)
        assert losses(two) == pytest.approx(losses(one), abs=2e-5)
        assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())

        # The second process neither writes nor speaks.
        assert json.loads((tmp_path / "written-0").read_text())
        assert json.loads((tmp_path / "written-1").read_text()) == []
        assert (tmp_path / "said-0").read_text().count("epoch 2/3") == 1
        assert (tmp_path / "said-1").read_text() == ""

        # Killed after its first checkpoint, it goes on to the same bits.
        assert torchrun("kill", toy_data, killed, tmp_path).returncode != 0
        assert not (killed / "weights.safetensors").exists()
        assert len(checkpoints.load(killed / "checkpoint.safetensors")[1]["log"]) == 1
        shutil.copytree(killed, mixed)
        done = torchrun("train", toy_data, killed, tmp_path)
        assert done.returncode == 0, done.stderr
        assert losses(killed) == losses(two)
        for key, tensor in tensors(two).items():
            assert torch.equal(tensors(killed)[key], tensor), key

        # One process goes on with what two began.
        train(toy_data, mixed, tmp_path / "seen-at-last")
        assert len(torch.load(tmp_path / "seen-at-last")[0]) == (EPOCHS - 1) * 3
        for key, tensor in tensors(one).items():
            torch.testing.assert_close(tensors(mixed)[key], tensor, atol=1e-6, rtol=1e-4)

    def test_a_batch_that_does_not_divide(self, toy_data: Path, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        train(toy_data, one, tmp_path / "seen-by-one", 5)
        done = torchrun("uneven", toy_data, two, tmp_path)
        assert done.returncode == 0, done.stderr
        parts = [torch.load(tmp_path / f"seen-{rank}")[0].shape[1] for rank in (0, 1)]
        assert parts == [3, 2]
        for key, tensor in tensors(one).items():
            torch.testing.assert_close(tensors(two)[key], tensor, atol=1e-6, rtol=1e-4)
        assert losses(two) == pytest.approx(losses(one), abs=2e-5)


@pytest.fixture
def among(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Return a function that makes this process number `rank` of `size`, all others silent."""

    def pretend(rank: int, size: int) -> None:
        monkeypatch.setattr(distributed, "size", lambda: size)
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setenv("LOCAL_RANK", str(rank))

    return pretend


class TestAlone:
    def test_nothing_is_shared(self) -> None:
        batch = torch.arange(4)
        network = nn.Conv2d(1, 1, 1)
        with distributed.joined(), distributed.leader_first():
            assert (distributed.size(), distributed.rank(), distributed.leads()) == (1, 0, True)
            assert torch.equal(distributed.own_share(batch), batch)
            assert distributed.mean(torch.tensor(0.25)) == 0.25
            assert distributed.averaging(network) is None
            assert distributed.synchronised(network, torch.device("cuda")) is network
            distributed.check_batch(7)


class TestShares:
    def test_they_make_up_the_batch(self, among: Callable[[int, int], None]) -> None:
        shares = []
        for rank in range(3):
            among(rank, 3)
            shares.append(distributed.own_share(torch.arange(6)).tolist())
        assert shares == [[0, 1], [2, 3], [4, 5]]

    def test_an_image_counts_as_much_where_the_batch_does_not_divide(
        self, among: Callable[[int, int], None]
    ) -> None:
        losses = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0])
        shares, weighted = [], []
        for rank in range(3):
            among(rank, 3)
            share = distributed.own_share(torch.arange(5))
            shares.append(share.tolist())
            weighted.append(losses[share].mean() * distributed.weight(len(share), 5))
        assert shares == [[0, 1], [2, 3], [4]]
        assert torch.stack(weighted).mean() == pytest.approx(losses.mean())

    def test_a_batch_with_fewer_images_than_processes_is_refused(
        self,
        toy_data: Path,
        tmp_path: Path,
        among: Callable[[int, int], None],
        tiny: Callable[..., TrainingSettings],
    ) -> None:
        among(0, 5)
        with pytest.raises(UsageError, match=r"--batch-size 4 .* they are 5"):
            loop.train(toy_data, tmp_path / "run", tiny(), DataSettings(device="cpu"))
        assert not (tmp_path / "run").exists()


class TestCards:
    def test_each_process_takes_its_own(
        self, among: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "set_device", lambda _place: None)
        among(1, 2)
        assert find_device("cuda", "float32").place == torch.device("cuda", 1)
        among(2, 3)
        with pytest.raises(UsageError, match="--nproc-per-node is at most 2"):
            find_device("cuda", "float32")

    def test_batch_norms_see_every_process_and_keep_their_names(
        self, among: Callable[[int, int], None]
    ) -> None:
        among(0, 2)
        before = networks.build("cdnn29", 7, 0.5)
        names = list(before.state_dict())
        after = distributed.synchronised(before, torch.device("cuda"))
        assert list(after.state_dict()) == names
        kinds = {type(module) for module in after.modules() if "Norm" in type(module).__name__}
        assert kinds == {nn.SyncBatchNorm}
        assert distributed.synchronised(Plain(3, 0), torch.device("cpu")).layers[1].training


def test_the_end_of_another_process_is_no_bug(
    among: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_value: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "init_process_group", lambda timeout: closed(timeout))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DermsegError, match="closed by peer"), distributed.joined():
        pass
    monkeypatch.setattr(torch.distributed, "all_reduce", closed)
    among(1, 2)
    with pytest.raises(DermsegError, match="closed by peer"), distributed.leader_first():
        pass


def test_a_number_of_processes_without_their_address_is_no_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DermsegError, match="RANK"), distributed.joined():
        pass


def work(task: str, data: Path, run: Path, notes: Path) -> None:
    """Train as one of torchrun's processes; "kill" ends all after the first checkpoint.

    "uneven" has a batch that two processes cannot halve.
    """
    rank = os.environ["RANK"]
    written: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        changing = event in ("os.mkdir", "os.rename", "os.remove", "shutil.rmtree")
        if event == "open" and isinstance(arguments[2], int):
            changing = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if changing and str(arguments[0]).startswith(str(run)):
            written.append(f"{event} {arguments[0]}")

    sys.addaudithook(watch)
    plain_save = checkpoints.save

    def save(*arguments: Any) -> None:
        plain_save(*arguments)
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)

    if task == "kill":
        checkpoints.save = save
    torch.set_num_threads(1)
    with (notes / f"said-{rank}").open("w") as sys.stderr:
        sys.stdout = sys.stderr
        train(data, run, notes / f"seen-{rank}", 5 if task == "uneven" else 4)
    (notes / f"written-{rank}").write_text(json.dumps(written))


if __name__ == "__main__":
    work(sys.argv[1], *map(Path, sys.argv[2:]))
