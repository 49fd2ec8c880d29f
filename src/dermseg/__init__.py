"""dermseg finds the lesion in a dermoscopic photograph.

    import dermseg
    lesion = dermseg.segment("photograph.jpg")
    lesion.mask, lesion.area, lesion.centroid

Names are imported when they are first used, so that `import dermseg` costs nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# Since 1.29 ONNX Runtime's own builds tell Microsoft which model runs where, unless told not to
# before it starts. Photographs of patients are near: nothing is sent unless someone wants it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from dermseg.batch.folder import segment_folder
    from dermseg.cores import keep_memory
    from dermseg.errors import (
        DataError,
        DermsegError,
        ImageError,
        MissingExtraError,
        ModelError,
        OutputError,
        StoreError,
        UsageError,
    )
    from dermseg.evaluation.scoring import Evaluation, evaluate
    from dermseg.export.exporter import export_model
    from dermseg.imaging.mask_files import read_mask, write_mask
    from dermseg.imaging.overlay import draw_overlay
    from dermseg.imaging.photographs import Photograph, read_photograph
    from dermseg.inference.segmentation import Segmentation
    from dermseg.inference.segmenter import Segmenter, segment
    from dermseg.inference.transforms import Segmentd
    from dermseg.masks.borders import BorderScores, score_border
    from dermseg.masks.metrics import Scores, score
    from dermseg.settings import (
        AugmentationSettings,
        DataSettings,
        ExportSettings,
        ThresholdSettings,
        TrainingSettings,
    )
    from dermseg.training.loop import train
    from dermseg.training.losses import register_loss
    from dermseg.training.networks import register_network

_HOMES = {
    "AugmentationSettings": "settings",
    "BorderScores": "masks.borders",
    "DataError": "errors",
    "DataSettings": "settings",
    "DermsegError": "errors",
    "Evaluation": "evaluation.scoring",
    "ExportSettings": "settings",
    "ImageError": "errors",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "OutputError": "errors",
    "Photograph": "imaging.photographs",
    "Scores": "masks.metrics",
    "Segmentation": "inference.segmentation",
    "Segmentd": "inference.transforms",
    "Segmenter": "inference.segmenter",
    "StoreError": "errors",
    "ThresholdSettings": "settings",
    "TrainingSettings": "settings",
    "UsageError": "errors",
    "draw_overlay": "imaging.overlay",
    "evaluate": "evaluation.scoring",
    "export_model": "export.exporter",
    "keep_memory": "cores",
    "read_mask": "imaging.mask_files",
    "read_photograph": "imaging.photographs",
    "register_loss": "training.losses",
    "register_network": "training.networks",
    "score": "masks.metrics",
    "score_border": "masks.borders",
    "segment": "inference.segmenter",
    "segment_folder": "batch.folder",
    "train": "training.loop",
    "write_mask": "imaging.mask_files",
}
_NEEDS = {
    "Segmentd": "monai",
    "export_model": "torch",
    "register_loss": "torch",
    "register_network": "torch",
    "train": "torch",
}
"""Packages that names need, of those that the base install leaves out."""

__all__ = [
    "AugmentationSettings",
    "BorderScores",
    "DataError",
    "DataSettings",
    "DermsegError",
    "Evaluation",
    "ExportSettings",
    "ImageError",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "Photograph",
    "Scores",
    "Segmentation",
    "Segmentd",
    "Segmenter",
    "StoreError",
    "ThresholdSettings",
    "TrainingSettings",
    "UsageError",
    "__version__",
    "draw_overlay",
    "evaluate",
    "export_model",
    "keep_memory",
    "read_mask",
    "read_photograph",
    "register_loss",
    "register_network",
    "score",
    "score_border",
    "segment",
    "segment_folder",
    "train",
    "write_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from dermseg.errors import MissingExtraError

        library = str(error.name).partition(".")[0]
        extra = "experiments" if library == "monai" else "train"
        raise MissingExtraError.naming(extra, f"dermseg.{name} needs {library}") from error


def __dir__() -> list[str]:
    """Name what is installed: help() and inspect ask for each of these names."""
    from importlib.util import find_spec

    return [name for name in __all__ if name not in _NEEDS or find_spec(_NEEDS[name])]
