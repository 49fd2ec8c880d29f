"""The trainer: its learning rate, its step, its average and its predictions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toy import Tiny

from dermseg.data.datasets import Cache
from dermseg.masks.style import STYLE_IDS
from dermseg.settings import AugmentationSettings, TrainingSettings
from dermseg.training import augment, networks
from dermseg.training import trainer as trainer_module
from dermseg.training.color import ColorChannels
from dermseg.training.devices import Device
from dermseg.training.losses import LOSSES
from dermseg.training.trainer import Trainer, learning_rate, prepare

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
NO_CHANGE = AugmentationSettings(flip=False, rotation=0, scale=0, shift=0, contrast=0)


def trainer_of(settings: TrainingSettings, images: Tensor, masks: Tensor) -> Trainer:
    """Return a trainer on all of `images`, uint8 (n, 3, H, W), and `masks`, uint8 (n, H, W)."""
    names = [f"{number}" for number in range(len(images))]
    flags = np.ones(len(names), np.uint8), np.zeros(len(names), np.bool_)
    cache = Cache(names, images.numpy(), masks.numpy(), "digest", *flags)
    return Trainer(settings, Device(torch.device("cpu"), "float32"), cache, np.arange(len(images)))


def ignore(_mean: float) -> None:
    """Be told of a step, and do nothing."""


def noise(count: int = 16, low: int = 0, high: int = 256) -> tuple[Tensor, Tensor]:
    """Return images and masks without sense."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(low, high, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    masks = torch.randint(0, 2, (count, 32, 32), dtype=torch.uint8, generator=generator) * 255
    return images, masks


class TestLearningRate:
    def test_constant_is_constant(self) -> None:
        settings = TrainingSettings(schedule="constant")
        assert {learning_rate(settings, done) for done in (0, 0.05, 0.5, 1)} == {0.003}

    @pytest.mark.parametrize(
        ("done", "share"),
        [(0, 0.04), (0.05, 0.52), (0.1, 1), (0.55, 0.5), (0.325, 0.8535534), (1, 0)],
    )
    def test_one_cycle_rises_peaks_and_falls_to_zero(self, done: float, share: float) -> None:
        settings = TrainingSettings(schedule="one-cycle", learning_rate=0.02)
        assert learning_rate(settings, done) == pytest.approx(0.02 * share, abs=1e-9)

    def test_one_cycle_has_no_jumps_and_one_summit(self) -> None:
        settings = TrainingSettings(schedule="one-cycle", learning_rate=1)
        rates = np.array([learning_rate(settings, done) for done in np.linspace(0, 1, 1001)])
        assert np.abs(np.diff(rates)).max() < 0.011
        assert (np.diff(rates)[:100] > 0).all()
        assert (np.diff(rates)[100:] < 0).all()


class Identity(nn.Module):
    """Calls lesion what is bright in the first channel."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] - 0.5) * 200


class TestTrainStep:
    def test_image_and_mask_are_changed_alike(self, tiny: Maker) -> None:
        """A network that reads the mask from the image finds it however both were turned."""
        y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
        mask = (torch.hypot(y - 15, x - 20) < 9).to(torch.uint8).mul(255).repeat(16, 1, 1)
        image = mask[:, None].repeat(1, 3, 1, 1)
        settings = tiny(
            height=48,
            width=64,
            channels="rgb",
            batch_size=16,
            ema_epochs=0,
            augmentation=AugmentationSettings(contrast=0),
        )
        trainer = trainer_of(settings, image, mask)
        trainer.network = Identity()
        seen: list[Tensor] = []

        def watch(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            seen.append(inputs[0])
            return (inputs[0].requires_grad_(),)

        trainer.network.register_forward_pre_hook(watch)
        assert trainer.train_epoch(ignore) < 0.03
        moved = (seen[0][:, 0] > 0.5) != (mask > 127)
        assert moved.double().mean().item() > 0.05  # or nothing was put to the test

    def test_each_image_gets_the_changes_of_its_own_row(self, tiny: Maker) -> None:
        images, masks = noise()
        trainer = trainer_of(tiny(channels="rgb", ema_epochs=0), images, masks)
        seen: list[Tensor] = []
        trainer.network.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
        affine = torch.eye(2, 3).repeat(16, 1, 1)
        affine[5, 0, 0] = -1
        draws = augment.Draws(affine, torch.zeros(16, 3), torch.ones(16, 3))
        trainer.train_step(torch.tensor([9, 5, 0]), draws, 0)
        expected = torch.stack((images[9], images[5].flip(-1), images[0])) / 255
        torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=0)

    def test_colour_and_sharpness_change_the_image_and_not_the_mask(self) -> None:
        images, masks = noise(2)
        swap = torch.tensor([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
        draws = augment.Draws(
            torch.eye(2, 3).repeat(2, 1, 1),
            torch.zeros(2, 3),
            torch.ones(2, 3),
            torch.stack((torch.eye(3, 4), swap)),
            torch.tensor([-1.0, 0.0]),
        )
        size = (images.shape[2], images.shape[3])
        channels, targets = prepare(ColorChannels("rgb"), images, masks, draws, size)
        blurred = functional.avg_pool2d(images[0] / 255, 3, 1, 1, count_include_pad=False)
        torch.testing.assert_close(channels[0], blurred, atol=1e-5, rtol=0)
        torch.testing.assert_close(channels[1], images[1].flip(0) / 255, atol=1e-5, rtol=0)
        torch.testing.assert_close(targets, masks / 255, atol=1e-5, rtol=0)

    def test_contrast_is_stretched_in_the_image_and_not_in_the_mask(
        self, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images, masks = noise(4, 60, 180)
        settings = tiny(channels="rgb", ema_epochs=0, augmentation=NO_CHANGE)
        targets: list[Tensor] = []

        def loss(logits: Tensor, target: Tensor) -> Tensor:
            targets.append(target)
            return logits.mean()

        monkeypatch.setitem(LOSSES, "jaccard", loss)
        trainer = trainer_of(settings, images, masks)
        seen: list[Tensor] = []
        trainer.network.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
        draws = augment.Draws(
            torch.eye(2, 3).repeat(4, 1, 1),
            torch.tensor([0.1, 0.0, 0.0]).repeat(4, 1),
            torch.tensor([0.9, 1.0, 1.0]).repeat(4, 1),
        )
        trainer.train_step(torch.arange(4), draws, 0)
        assert seen[0][:, 0].min() == 0
        assert seen[0][:, 0].max() == 1
        torch.testing.assert_close(seen[0][:, 1:], images[:, 1:] / 255, atol=1e-5, rtol=0)
        torch.testing.assert_close(targets[0], masks / 255, atol=1e-5, rtol=0)


class Styled(Tiny):
    """A network that is told styles, and keeps what it was told."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__(channels, dropout)
        self.told: list[Tensor] = []

    def forward(self, x: Tensor, style: Tensor) -> Tensor:  # type: ignore[override]
        self.told.append(style)
        return super().forward(x)


class TestStyles:
    @pytest.fixture
    def styled(self, tiny: Maker, monkeypatch: pytest.MonkeyPatch) -> Maker:
        monkeypatch.setitem(networks.NETWORKS, "tiny", Styled)
        monkeypatch.setattr(networks, "STYLED", {"tiny"})
        return tiny

    def trained(self, settings: TrainingSettings) -> tuple[Trainer, Tensor]:
        """Return a trainer after an epoch, and what its network was told of each image."""
        trainer = trainer_of(settings, *noise(16))
        trainer.styles[:8] = STYLE_IDS["semi-automatic"]
        batches, _ = trainer.draw_epoch()
        trainer.train_epoch(ignore)
        told = torch.full((16,), -1)
        assert isinstance(trainer.network, Styled)
        told[torch.cat(list(batches))] = torch.cat(trainer.network.told)
        return trainer, told

    def test_a_network_is_told_each_masks_style(self, styled: Maker) -> None:
        trainer, told = self.trained(styled(style_dropout=0, ema_epochs=0))
        assert torch.equal(told, trainer.styles)
        trainer.predict(np.array([9, 0, 4]))
        assert isinstance(trainer.network, Styled)
        assert trainer.network.told[-1].tolist() == [1, 2, 2]

    def test_now_and_then_it_is_told_nothing_by_seed_and_epoch_alone(self, styled: Maker) -> None:
        trainer, told = self.trained(styled(style_dropout=0.5, ema_epochs=0))
        again, same = self.trained(styled(style_dropout=0.5, ema_epochs=0, learning_rate=0.1))
        assert torch.equal(told, same)
        assert set(told.tolist()) == {0, 1, 2}
        trainer.train_epoch(ignore)
        assert isinstance(trainer.network, Styled)
        assert isinstance(again.network, Styled)
        first, second = trainer.network.told[:4], trainer.network.told[4:]
        assert not torch.equal(torch.cat(first) > 0, torch.cat(second) > 0)

    def test_who_is_told_changes_no_other_chance(self, tiny: Maker) -> None:
        often, never = (
            trainer_of(tiny(style_dropout=share), *noise(16)).draw_epoch() for share in (0.9, 0)
        )
        assert all(torch.equal(one, other) for one, other in zip(often[0], never[0], strict=True))
        assert torch.equal(often[1].affine, never[1].affine)


class TestTrainEpoch:
    def test_every_step_uses_the_learning_rate_of_its_place(
        self, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used = []
        plain_step = Trainer.train_step

        def step(self: Trainer, *arguments: Any) -> float:
            loss = plain_step(self, *arguments)
            used.append(self.optimizer.param_groups[0]["lr"])
            return loss

        monkeypatch.setattr(Trainer, "train_step", step)
        settings = tiny(schedule="one-cycle", epochs=2)
        trainer = trainer_of(settings, *noise())
        trainer.train_epoch(ignore)
        trainer.train_epoch(ignore)
        assert used == pytest.approx([learning_rate(settings, i / 8) for i in range(8)])

    def test_dropout_is_back_on_after_a_prediction(self, tiny: Maker) -> None:
        trainer = trainer_of(tiny(ema_epochs=0), *noise())
        trainer.train_epoch(ignore)
        trainer.predict(np.arange(2))
        modes = []
        trainer.network.register_forward_pre_hook(lambda m, _i: modes.append(m.training))
        trainer.train_epoch(ignore)
        assert modes == [True] * 4

    def test_its_loss_is_the_mean_of_its_steps(
        self, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        losses = iter([0.5, 0.25, 0.75, 0.1])
        monkeypatch.setattr(Trainer, "train_step", lambda *_: next(losses))
        told: list[float] = []
        assert trainer_of(tiny(), *noise()).train_epoch(told.append) == pytest.approx(0.4)
        assert told == pytest.approx([0.5, 0.375, 0.5, 0.4])

    def test_an_incomplete_batch_is_left_out_but_never_the_same_images(
        self, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batches: list[list[int]] = []

        def step(_self: Trainer, rows: Any, *_rest: Any) -> float:
            batches.append(rows.tolist())
            return 0.0

        monkeypatch.setattr(Trainer, "train_step", step)
        trainer = trainer_of(tiny(batch_size=5), *noise())
        left_out = set()
        for _ in range(12):
            batches.clear()
            trainer.train_epoch(ignore)
            assert [len(batch) for batch in batches] == [5, 5, 5]
            seen = {row for batch in batches for row in batch}
            assert len(seen) == 15
            left_out |= set(range(16)) - seen
        assert len(left_out) > 3


@pytest.fixture
def as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor be treated as a card; the compiler traces, but writes no kernels."""
    monkeypatch.setattr(Device, "is_gpu", True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _place: (2**30, 2**30))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    plain_compile = torch.compile

    def trace(function: Any, *, mode: str, **options: Any) -> Any:
        return plain_compile(function, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", trace)


class TestOnACard:
    """What a card is fed, put to the test on the processor."""

    def trained(self, settings: TrainingSettings) -> tuple[Trainer, list[float]]:
        trainer = trainer_of(settings, *noise())
        return trainer, [trainer.train_epoch(ignore) for _ in range(settings.epochs)]

    def assert_same(self, one: Trainer, other: Trainer) -> None:
        state, its_state = one.tensors(), other.tensors()
        assert state.keys() == its_state.keys()
        for name, tensor in state.items():
            torch.testing.assert_close(tensor, its_state[name], atol=1e-6, rtol=1e-4)

    def test_it_trains_the_same_network(self, tiny: Maker, request: pytest.FixtureRequest) -> None:
        early = {"early_epochs": 1, "early_height": 16, "early_width": 32}
        settings = tiny(dropout=0.0, schedule="one-cycle", epochs=4, **early)
        plain, losses = self.trained(settings)
        request.getfixturevalue("as_on_a_card")
        card, its_losses = self.trained(settings)
        assert isinstance(card.images, Tensor)
        assert isinstance(card.optimizer.param_groups[0]["lr"], Tensor)
        assert card.loss is not trainer_module.batch_loss  # it was compiled, and stayed so
        assert its_losses == pytest.approx(losses, abs=1e-6)
        self.assert_same(card, plain)
        assert np.allclose(card.predict(np.arange(5)), plain.predict(np.arange(5)), atol=1e-5)

    @pytest.mark.usefixtures("as_on_a_card")
    def test_it_goes_on_where_it_stopped(self, tiny: Maker) -> None:
        settings = tiny(dropout=0.0, schedule="one-cycle")
        whole, _ = self.trained(settings)
        first = trainer_of(settings, *noise())
        first.train_epoch(ignore)
        second = trainer_of(settings, *noise())
        second.restore({name: t.clone() for name, t in first.tensors().items()}, 1)
        for _ in range(2):
            second.train_epoch(ignore)
        self.assert_same(second, whole)

    @pytest.mark.usefixtures("as_on_a_card")
    def test_the_loss_is_looked_at_rarely(
        self, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        losses = iter([0.5, 0.25, 0.75, 0.1])
        monkeypatch.setattr(Trainer, "train_step", lambda *_: next(losses))
        monkeypatch.setattr(trainer_module, "STEPS_UNSEEN", 3)
        told: list[float] = []
        assert trainer_of(tiny(), *noise()).train_epoch(told.append) == pytest.approx(0.4)
        assert told == pytest.approx([0.5, 0.5, 0.5, 0.4])

    def test_a_step_that_cannot_be_compiled_goes_on_as_it_is(
        self, tiny: Maker, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, _ = self.trained(tiny())
        request.getfixturevalue("as_on_a_card")

        def fail(*_: Any) -> Tensor:
            raise ZeroDivisionError("no compiler")

        monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
        trainer = trainer_of(tiny(), *noise())
        with pytest.warns(UserWarning, match="could not compile .* ZeroDivisionError: no compiler"):
            trainer.train_epoch(ignore)
        trainer.train_epoch(ignore)
        trainer.train_epoch(ignore)
        self.assert_same(trainer, plain)

    def test_a_fault_of_the_step_itself_is_raised(self, tiny: Maker) -> None:
        trainer = trainer_of(tiny(channels="rgb", ema_epochs=0), *noise())
        trainer.network = Identity()  # its loss has no gradients
        with pytest.raises(RuntimeError, match="does not require grad"):
            trainer.train_epoch(ignore)


class TestPredict:
    def test_it_is_by_the_averaged_network_in_evaluation(self, tiny: Maker) -> None:
        trainer = trainer_of(tiny(), *noise())
        rows = np.array([3, 0, 8])
        first = trainer.predict(rows)
        assert (first.shape, first.dtype) == ((3, 32, 32), np.float32)
        assert np.array_equal(trainer.predict(rows), first)  # no dropout
        assert trainer.predict(rows[1:2]) == pytest.approx(first[1:2], abs=1e-5)
        for network, differs in ((trainer.network, False), (trainer.result, True)):
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(1)
            assert np.array_equal(trainer.predict(rows), first) != differs

    def test_many_images_come_back_in_their_order(self, tiny: Maker) -> None:
        trainer = trainer_of(tiny(), *noise(60))
        rows = np.random.default_rng(0).permutation(60)
        every = trainer.predict(rows)
        assert len(every) == 60
        for place in (0, 49, 50, 59):
            alone = trainer.predict(rows[place : place + 1])[0]
            assert every[place] == pytest.approx(alone, abs=1e-5)


class TestAverage:
    def test_without_averaging_the_result_is_the_network_itself(self, tiny: Maker) -> None:
        trainer = trainer_of(tiny(ema_epochs=0.0), *noise())
        assert trainer.result is trainer.network

    @pytest.mark.parametrize(("ema_epochs", "decay"), [(1.0, 0.75), (0.5, 0.5), (0.1, 0.0)])
    def test_it_forgets_over_the_epochs_it_was_told(
        self, tiny: Maker, ema_epochs: float, decay: float
    ) -> None:
        trainer = trainer_of(tiny(ema_epochs=ema_epochs), *noise())  # 4 steps an epoch
        assert trainer.average is not None
        for value in (0.0, 1.0):  # the first is taken over whole
            with torch.no_grad():
                for parameter in trainer.network.parameters():
                    parameter.fill_(value)
            trainer.average.update_parameters(trainer.network)
        for parameter in trainer.result.parameters():
            assert parameter.flatten()[0].item() == pytest.approx(1 - decay)

    def test_running_statistics_are_averaged_too(self, tiny: Maker) -> None:
        trainer = trainer_of(tiny(), *noise())
        assert trainer.average is not None
        for value in (0.0, 1.0):
            for name, buffer in trainer.network.named_buffers():
                if name.endswith("running_mean"):
                    buffer.fill_(value)
            trainer.average.update_parameters(trainer.network)
        means = [b for n, b in trainer.result.named_buffers() if n.endswith("running_mean")]
        assert [mean[0].item() for mean in means] == pytest.approx([0.25] * 3)
