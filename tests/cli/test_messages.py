"""What a person reads who has called the program wrongly."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from dermseg.cli.main import main
from dermseg.progress import counted

Captured = pytest.CaptureFixture[str]
COMMANDS = {
    "segment": ["photographs/"],
    "train": ["ISIC-2017/"],
    "convert": ["masks/"],
    "export": ["run/"],
    "evaluate": ["masks/"],
    "doctor": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_missing_is_told_with_an_example(command: str, capsys: Captured) -> None:
    assert main([command, *COMMANDS[command]]) == 2
    assert f"for example: dermseg {command} " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (["a.jpg"], "drop photographs on the page"),
        (["--review", "masks"], "name the photographs: dermseg serve --review masks PHOTOGRAPHS"),
    ],
)
def test_photographs_and_a_review_go_together(
    call: list[str], remedy: str, capsys: Captured
) -> None:
    assert main(["serve", *call]) == 2
    assert remedy in capsys.readouterr().err


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "http://x/y/"])
@pytest.mark.parametrize("place", [0, 1])
def test_an_address_is_no_path(address: str, place: int, tmp_path: Path, capsys: Captured) -> None:
    paths = [str(tmp_path), str(tmp_path)]
    paths[place] = address
    assert main(["evaluate", *paths]) == 2
    assert f"{address}: an address; download it" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "http://x/y/"])
def test_a_web_server_that_is_not_there_is_a_wrong_call(
    address: str, tmp_path: Path, capsys: Captured
) -> None:
    status = main(["segment", address, "-o", str(tmp_path / "out")])
    said = capsys.readouterr().err
    if find_spec("aiohttp"):
        assert (status, address in said) == (2, True)
    else:
        assert (status, "pip install '.[cloud]'" in said) == (1, True)


@pytest.mark.parametrize("name", ["out.png", "out.JPG", "masks.tif"])
def test_an_output_named_like_a_picture_is_refused(
    name: str, tmp_path: Path, capsys: Captured
) -> None:
    photographs = str(Path(__file__).parent.parent.parent / "examples" / "photographs")
    assert main(["segment", photographs, "-o", str(tmp_path / name)]) == 2
    assert "masks go into a folder" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "gone.jpg", "-o", "out"],
        ["segment", "gone", "-o", "out"],
        ["evaluate", "gone", "gone"],
        ["doctor", "gone"],
        ["convert", "gone", "-o", "a.json", "--to", "coco"],
        ["segment", "EXAMPLES", "-o", "out", "--model", "gone"],
        ["segment", "EXAMPLES", "-o", "out", "--model", "gone.onnx"],
        ["experiment", "gone"],
    ],
)
def test_what_is_not_there_is_a_wrong_call_for_every_command(arguments: list[str]) -> None:
    examples = str(Path(__file__).parent.parent.parent / "examples" / "photographs")
    assert main([examples if word == "EXAMPLES" else word for word in arguments]) == 2


def test_one_is_not_several() -> None:
    assert [counted(number, "mask") for number in (0, 1, 2)] == ["0 masks", "1 mask", "2 masks"]
