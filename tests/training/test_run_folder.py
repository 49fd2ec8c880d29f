from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from dermseg.cli.main import main
from dermseg.errors import DataError, ModelError
from dermseg.training.run_folder import (
    HELD_OUT,
    LOG,
    SAMPLES,
    SETTINGS,
    WEIGHTS,
    find_held_out,
    find_members,
    held_out_names,
    predicted_folds,
    read_held_out,
    read_log,
    read_settings,
    write_held_out,
)


def finish(run: Path) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    for name in (SETTINGS, WEIGHTS, SAMPLES):
        (run / name).touch()
    return run


def hold_out(run: Path, *names: str) -> None:
    run.mkdir(parents=True, exist_ok=True)
    maps = np.full((len(names), 2, 3), 0.5, np.float32)
    write_held_out(run, names, maps, np.zeros(len(names), np.bool_))


def test_a_run_is_its_only_member(tmp_path: Path) -> None:
    finish(tmp_path / "run")
    (tmp_path / "run" / "fold-0").mkdir()
    assert find_members(tmp_path / "run") == [tmp_path / "run"]


def test_a_protocols_members_are_the_folds_and_everything(tmp_path: Path) -> None:
    runs = [finish(tmp_path / name) for name in ("fold-0", "fold-1", "all")]
    (tmp_path / "cache").mkdir()
    (tmp_path / "fold-9").mkdir()  # not begun
    assert find_members(tmp_path) == runs


@pytest.mark.parametrize("missing", [WEIGHTS, SAMPLES])
def test_an_unfinished_member_is_named_with_the_remedy(tmp_path: Path, missing: str) -> None:
    finish(tmp_path / "fold-0")
    (finish(tmp_path / "fold-1") / missing).unlink()
    with pytest.raises(ModelError, match=rf"fold-1.*{missing}.*dermseg train"):
        find_members(tmp_path)


def test_a_folder_without_a_training(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no finished training"):
        find_members(tmp_path)
    with pytest.raises(ModelError, match="no finished training"):
        find_members(tmp_path / "nowhere")


def test_predictions_of_all_folds_are_one(tmp_path: Path) -> None:
    hold_out(tmp_path / "fold-0", "a", "c")
    hold_out(tmp_path / "fold-1", "b")
    (tmp_path / "all").mkdir()
    maps = read_held_out(tmp_path)
    assert sorted(maps) == ["a", "b", "c"]
    assert maps["b"].dtype == np.float32
    assert sorted(read_held_out(tmp_path / "fold-0")) == ["a", "c"]
    with pytest.raises(DataError, match="--protocol"):
        read_held_out(tmp_path / "all")


def test_a_portraits_probability_lies_as_the_photograph(tmp_path: Path) -> None:
    maps = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    write_held_out(tmp_path, ["level", "portrait"], maps, np.array([False, True]))
    found = read_held_out(tmp_path)
    np.testing.assert_array_equal(found["level"], maps[0])
    np.testing.assert_array_equal(np.rot90(found["portrait"]), maps[1])
    seen = read_held_out(tmp_path, as_seen=True)
    np.testing.assert_array_equal(list(seen.values()), maps)


def test_predictions_that_do_not_say_how_they_lie_are_refused(tmp_path: Path) -> None:
    maps = np.zeros((1, 2, 3), np.float16)
    np.savez(tmp_path / "held-out.npz", image_ids=np.array(["a"]), probability=maps)
    with pytest.raises(DataError, match="older dermseg"):
        read_held_out(tmp_path)


def test_the_folds_speak_for_the_run_that_held_nothing_out(tmp_path: Path) -> None:
    runs = [finish(tmp_path / name) for name in ("fold-0", "fold-1", "all")]
    for run in runs[:2]:
        hold_out(run, run.name)
    assert find_held_out(runs[2]) == find_held_out(tmp_path) == runs[:2]
    assert find_held_out(runs[1]) == [runs[1]]
    alone = finish(tmp_path / "elsewhere" / "all")
    assert find_held_out(alone) == []


def test_what_a_run_on_everything_has_predicted_is_no_fold(tmp_path: Path) -> None:
    runs = [finish(tmp_path / name) for name in ("fold-0", "fold-1", "all")]
    hold_out(runs[0], "a")
    hold_out(runs[2], "one of a validation set")
    assert predicted_folds(runs) == runs[:1]


def archive(**arrays: object) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


JUNK = (
    *(b"", b"junk", b"\x80\x00\xff" * 99, b"PK\x03\x04" + bytes(99), b"[" * 99_999),
    *(b"null", b"[]", b"3", b"{}", b'{"settings": 3}', b'{"settings": {"augmentation": {"x": 1}}}'),
    archive(other=np.zeros(3)),
    archive(image_ids=np.array(["a"]), probability=np.zeros(3), turned=np.zeros(2)),
    archive(image_ids=np.array(["a"], object), probability=np.zeros(3), turned=np.zeros(3)),
    archive(image_ids=np.array(["a"]), probability=np.array(["x"]), turned=np.zeros(1)),
)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_a_run_folder_is_named(
    tmp_path: Path, junk: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finish(tmp_path / "run")
    for name in (SETTINGS, HELD_OUT, SAMPLES, WEIGHTS):
        (run / name).write_bytes(junk)
    for read in (read_settings, held_out_names, read_held_out):
        if read is held_out_names and b"image_ids" in junk and b"object" not in junk:
            continue
        with pytest.raises(DataError, match="run"):
            read(run)
    assert main(["export", str(run), "-o", str(tmp_path / "m.onnx")]) == 1
    assert main(["doctor", str(tmp_path), "--predictions", str(run)]) == 1
    assert "bug" not in capsys.readouterr().err


def test_a_log_that_is_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / LOG).mkdir()
    with pytest.raises(DataError, match=r"log\.csv"):
        read_log(tmp_path)
