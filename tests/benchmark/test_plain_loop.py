"""The plain loop: its masks are of the photographs' sizes, and its network is the model's."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermseg.benchmark.plain_loop import PlainLoop
from dermseg.errors import UsageError
from dermseg.modelfile.card import ModelCard
from dermseg.settings import TrainingSettings
from dermseg.training.networks.cdnn19 import CDNN19
from dermseg.training.networks.cdnn29 import CDNN29

Maker = Callable[..., TrainingSettings]


def test_a_mask_shows_the_disc_at_the_photographs_size(
    tiny: Maker, photograph: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [photograph("a.jpg", 90, 120), photograph("b.png", 60, 80)]
    PlainLoop(ModelCard(({"settings": asdict(tiny())},), 1.0))(paths, tmp_path)
    for path, size in zip(paths, [(120, 90), (80, 60)], strict=True):
        with Image.open(tmp_path / f"{path.stem}.png") as image:
            assert (image.mode, image.size) == ("L", size)
            mask = np.asarray(image)
        assert set(np.unique(mask)) == {0, 255}
        assert mask[size[1] // 2, size[0] // 2] == 255
        assert 0.08 < (mask > 0).mean() < 0.25


@pytest.mark.parametrize(("network", "kind"), [("cdnn19", CDNN19), ("cdnn29", CDNN29)])
def test_the_network_is_the_one_that_the_card_names(tiny: Maker, network: str, kind: type) -> None:
    member = {"settings": asdict(tiny(network=network))}
    alone, together = (PlainLoop(ModelCard((member,) * count, 1.0)) for count in (1, 2))
    assert [type(each) for each in alone.model.networks] == [kind]
    assert [type(each) for each in together.model.networks] == [kind, kind]


def test_a_network_that_nobody_registered_is_refused_with_the_way_out(tiny: Maker) -> None:
    with pytest.raises(UsageError, match="--plugin"):
        PlainLoop(ModelCard(({"settings": asdict(tiny(network="none"))},), 1.0))
