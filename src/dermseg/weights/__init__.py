"""The models that come with dermseg: ONNX files that carry their own card."""

from pathlib import Path

from dermseg.errors import UnknownModelError

MODELS = {
    "lite0": "lite0.onnx",
    "lite0-ensemble": "lite0-ensemble.onnx",
    "cdnn29": "cdnn29.onnx",
    "cdnn29-ensemble": "cdnn29-ensemble.onnx",
}
"""Name to file, in this folder."""


def find_model(model: str | Path) -> Path:
    """Return the file of a shipped model's name, or of a path to an ONNX file.

    Raises UnknownModelError for an unknown name and for a path that does not exist.
    """
    if str(model) in MODELS:
        return Path(__file__).parent / MODELS[str(model)]
    path = Path(model)
    if path.suffix == ".onnx":
        if path.is_file():
            return path
        raise UnknownModelError(f"{path}: no such model file")
    raise UnknownModelError(
        f"unknown model {str(model)!r}; choose from {', '.join(sorted(MODELS))}, "
        "or give the path of an .onnx file that `dermseg export` wrote"
    )
