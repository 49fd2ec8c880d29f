"""Fine-tuning: a training starts from another training's weights, or from a model file's.

Export folds batch norms into the convolutions before them. They are restored with the statistics of
augmented training images, so that the network computes what the file does and can be trained on.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dermseg.data import folds
from dermseg.data.fingerprints import lists_all, read_fingerprints, seen_by
from dermseg.errors import DataError, ModelError
from dermseg.modelfile import graph
from dermseg.modelfile.graph import member_tensors, read_model
from dermseg.settings import CHANNEL_COUNT, Channels, TrainingSettings
from dermseg.storage.files import reading
from dermseg.training import augment, checkpoints, networks
from dermseg.training.color import ColorChannels
from dermseg.training.networks.layers import normed_convolutions
from dermseg.training.run_folder import FOLDS, WEIGHTS, find_members, fold_name, is_run
from dermseg.training.trainer import Trainer, prepare
from dermseg.weights import MODELS, find_model

SHOWN = 64
"""Images that the batch norms of a model file get their statistics from."""
TINY = 1e-6
"""A filter shorter than this is none, and stays as it is."""
KNOWN = ("settings", "images", "epochs", "hours", "commits", "seen", "fine_tuned_from")
"""What of the weights' origin the new training's facts repeat."""
Tensors = dict[str, Tensor]


def start(
    trainer: Trainer, fold_of: Mapping[str, int], held_out: Mapping[str, Path]
) -> dict[str, Any]:
    """Load the weights that the settings of `trainer` name, and return the facts of their origin.

    Of a protocol's folder or an ensemble's file the member that held out the same fold is taken.
    `fold_of` maps each image to its fold, and `held_out` those that the training will be scored on
    to their photographs: a fold, or without one the validation set, which is in no fold.

    The fact `apart` says that the weights have not seen the held-out images. Weights that list all
    their photographs tell; of others this is known only for the same data in the same folds. A
    training that starts from this one inherits the answer.

    Raises ModelError if there are no such weights, UsageError if they are of another network, and
    DataError if they have seen a held-out image.
    """
    given = trainer.settings.fine_tune_from
    from_file = not Path(given).is_dir() and (given in MODELS or given.endswith(".onnx"))
    if from_file:
        tensors, known = _of_model(trainer, fold_of, held_out)
    else:
        tensors, known = _of_run(trainer, held_out)
    known["newly_initialised"] = trainer.take_over(tensors)
    return known


def _of_run(trainer: Trainer, held_out: Mapping[str, Path]) -> tuple[Tensors, dict[str, Any]]:
    folder = Path(trainer.settings.fine_tune_from)
    if not is_run(folder):
        folder /= fold_name(trainer.settings.fold)
    (folder,) = find_members(folder)
    tensors, facts = checkpoints.load(folder / WEIGHTS)
    with reading(folder / FOLDS):
        theirs = dict(json.loads((folder / FOLDS).read_text(encoding="utf-8")))
    with reading(folder / WEIGHTS):
        spared = facts["settings"]["fold"]
    seen = [image for image in held_out if image in theirs and theirs[image] != spared]
    remedy = "use the same folds, or hold none out"
    _check_seen(seen or _listed(facts, held_out), held_out, trainer, remedy)
    # The origin's own origin was checked against the images that the origin held out.
    apart = _origin_apart(facts) and ("fine_tuned_from" not in facts or _same_data(trainer, facts))
    apart = apart or lists_all(facts)
    return tensors, {"apart": apart, **_known(facts)}


def _of_model(
    trainer: Trainer, fold_of: Mapping[str, int], held_out: Mapping[str, Path]
) -> tuple[Tensors, dict[str, Any]]:
    file = find_model(trainer.settings.fine_tune_from)
    proto, card = read_model(file)
    members = card.members
    wanted = trainer.settings.fold
    fitting = [i for i, m in enumerate(members) if m["settings"]["fold"] == wanted]
    if len(members) > 1 and not fitting:
        raise ModelError(
            f"--fine-tune-from {file.name}: none of its members holds out fold {wanted}; choose "
            "another --fold, or another model"
        )
    index = fitting[0] if len(members) > 1 else 0
    facts = members[index]
    settings = TrainingSettings.from_dict(facts["settings"])
    networks.check(settings)
    same_split = _split(settings) == _split(trainer.settings)
    # Older files do not say which image was in which fold.
    same_folds = facts.get("folds", "") in ("", folds.digest(fold_of))
    seen = _listed(facts, held_out)
    # The same data are the same training images, of which a validation set is none.
    same_data = wanted is not None and _same_data(trainer, facts)
    if not lists_all(facts) and same_data and not (same_split and same_folds):
        seen = list(held_out)
    remedy = "hold none out, or start from an ensemble whose member for this fold has not seen them"
    _check_seen(seen, held_out, trainer, remedy)
    known_folds = same_split and same_folds and "folds" in facts
    apart = _same_data(trainer, facts) and known_folds and _origin_apart(facts)
    apart = apart or lists_all(facts)
    tensors = restore_batch_norms(
        settings, member_tensors(proto, index), _show(trainer, settings.channels)
    )
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return tensors, {"model": file.name, "sha256": sha256, "apart": apart, **_known(facts)}


def _listed(facts: Mapping[str, Any], held_out: Mapping[str, Path]) -> list[str]:
    """Return the held-out images that weights list among those they were trained on."""
    if not (known := seen_by(facts)):
        return []
    prints = read_fingerprints(list(held_out.values()))
    return [image for image, each in zip(held_out, prints, strict=True) if each in known]


def _check_seen(
    seen: Sequence[str], held_out: Collection[str], trainer: Trainer, remedy: str
) -> None:
    """Raise DataError if the weights have seen held-out images; `remedy` is for those of a fold."""
    if not seen:
        return
    if trainer.settings.fold is None:
        remedy = "take them out of the validation set"
    raise DataError(
        f"--fine-tune-from {trainer.settings.fine_tune_from}: it was trained on {len(seen)} of the "
        f"{len(held_out)} images that are held out here, such as {min(seen)}; {remedy}"
    )


def _same_data(trainer: Trainer, facts: dict[str, Any]) -> bool:
    same: bool = facts["data"] == trainer.cache.digest
    return same


def _origin_apart(facts: dict[str, Any]) -> bool:
    """Say whether what these weights started from is known not to have seen what they held out."""
    known: bool = facts.get("fine_tuned_from", {}).get("apart", True)
    return known


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in KNOWN if name in facts}


def _split(settings: TrainingSettings) -> tuple[int | None, int, str, int]:
    """Return what decides, on the same data, which images are held out."""
    return settings.fold, settings.folds, settings.folds_by, settings.fold_seed


def _show(trainer: Trainer, channels: Channels) -> Tensor:
    """Return some of the training images as `trainer` will show them, (n, C, H, W).

    With the statistics of images that nobody has changed the network would put out something else
    in the first step of training already: lite0's loss rose from 0.119 to 0.127.
    """
    rows = trainer.chosen[np.linspace(0, len(trainer.chosen) - 1, SHOWN).astype(np.intp)]
    images, masks = (
        torch.from_numpy(pixels[rows]) for pixels in (trainer.cache.images, trainer.cache.masks)
    )
    height, width = trainer.size
    changes = augment.draw(
        trainer.settings.augmentation,
        len(rows),
        CHANNEL_COUNT[channels],
        width / height,
        torch.Generator().manual_seed(trainer.settings.seed),
    )
    shown, _ = prepare(ColorChannels(channels), images, masks, changes, (height, width))
    return shown


def restore_batch_norms(
    settings: TrainingSettings, stored: graph.Tensors, shown: Tensor
) -> Tensors:
    """Return all that the network of `settings` needs, of a file's weights without batch norms.

    `stored` are a folded network's by name, and `shown`, the network's channels (n, C, H, W), what
    the batch norms get their statistics from. In evaluation the network then computes what the
    folded one does. Filters get the length 1, and their norms the rest: to a norm it makes no
    difference, but Adam's steps are as long for any filter, and would undo short ones (lite0's of
    1 x 1 were a seventh of what they had been; its loss rose from 0.12 to 0.18).

    Raises ModelError if weights are missing.
    """
    tensors = {name: torch.from_numpy(array) for name, array in stored.items()}
    network = networks.build(
        settings.network, CHANNEL_COUNT[settings.channels], settings.dropout
    ).eval()
    folded = {
        norm: convolution
        for convolution, norm in normed_convolutions(network)
        if f"{norm}.weight" not in tensors and f"{convolution}.bias" in tensors
    }
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            owner, _, own = name.rpartition(".")
            if owner in folded or own == "num_batches_tracked" or _is_style(name, tensors):
                continue
            if name not in tensors or tensors[name].shape != tensor.shape:
                raise ModelError(
                    f"--fine-tune-from: the file holds no {name} of the network {settings.network}"
                )
            tensor.copy_(tensors[name])
        for norm, convolution in folded.items():
            filters = network.get_submodule(convolution).weight
            assert isinstance(filters, Tensor)
            lengths = filters.flatten(1).norm(dim=1).clamp(min=TINY)
            filters /= lengths.view(-1, 1, 1, 1)
            _restore_statistics(
                network.get_submodule(norm), lengths, tensors[f"{convolution}.bias"]
            )
        network(shown)
    return network.state_dict()


def _is_style(name: str, tensors: Tensors) -> bool:
    """Say whether `name` is a style's vectors, which start at zero where a file has none."""
    return name.startswith("styles.") and name not in tensors


def _restore_statistics(norm: nn.Module, scale: Tensor, bias: Tensor) -> None:
    """Let a batch norm take the statistics of what it sees next, times `scale` and plus `bias`."""
    assert isinstance(norm, nn.BatchNorm2d)

    def take(_: nn.Module, given: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(given[0], (0, 2, 3), correction=0)
        norm.load_state_dict(
            {
                "weight": scale * (variance + norm.eps).sqrt(),
                "bias": bias + scale * mean,
                "running_mean": mean,
                "running_var": variance,
                "num_batches_tracked": torch.tensor(1),
            }
        )

    norm.register_forward_pre_hook(take)
