import dataclasses
from typing import Any

import pytest

from dermseg.errors import UsageError
from dermseg.settings import (
    CHANNEL_COUNT,
    AugmentationSettings,
    ThresholdSettings,
    TrainingSettings,
)


def test_the_defaults_are_the_papers() -> None:
    training, thresholds = TrainingSettings(), ThresholdSettings()
    assert (training.network, training.channels) == ("cdnn29", "rgb-hsv-l")
    assert (training.height, training.width) == (192, 256)
    assert (training.epochs, training.batch_size, training.learning_rate) == (600, 18, 0.003)
    assert (training.dropout, training.folds, training.schedule) == (0.5, 5, "constant")
    assert (thresholds.high, thresholds.low) == (0.8, 0.5)
    assert CHANNEL_COUNT == {"rgb-hsv-l": 7, "rgb": 3}


@pytest.mark.parametrize(
    "settings", [TrainingSettings(), ThresholdSettings(), AugmentationSettings()]
)
def test_settings_are_frozen(settings: Any) -> None:
    for field in dataclasses.fields(settings):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(settings, field.name, None)


def test_settings_survive_a_dictionary() -> None:
    settings = TrainingSettings(
        network="cdnn19", fold=3, augmentation=AugmentationSettings(flip=False, rotation=7.5)
    )
    back = TrainingSettings.from_dict(dataclasses.asdict(settings))
    assert back == settings
    assert isinstance(back.augmentation, AugmentationSettings)


def test_a_misspelt_setting_is_not_swallowed() -> None:
    values = dataclasses.asdict(TrainingSettings())
    with pytest.raises(TypeError, match="epochss"):
        TrainingSettings.from_dict({**values, "epochss": 3})


@pytest.mark.parametrize("changes", [{"rule": "compleat"}, {"low": -0.1}, {"high": 1.1}])
def test_thresholds_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    """An unknown rule must not quietly become the default one."""
    with pytest.raises((UsageError, ValueError), match=next(iter(changes))):
        ThresholdSettings(**changes)
