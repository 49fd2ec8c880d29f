"""The search for settings: chosen out of fold, written down before, never lost or done twice."""

import csv
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from dermseg.cli.main import main
from dermseg.data.layouts import find_pairs
from dermseg.errors import DataError, DivergedError, OutputError, UsageError
from dermseg.evaluation.maps import evaluate_maps
from dermseg.settings import (
    PROTOCOLS,
    AugmentationSettings,
    DataSettings,
    ThresholdSettings,
    TrainingSettings,
    TuningSettings,
)
from dermseg.training import loop, plugins, protocol
from dermseg.training.run_folder import read_held_out, write_held_out
from dermseg.tuning import trials
from dermseg.tuning.ranking import (
    Point,
    Result,
    best_choice,
    cross_fitted,
    pair_rows,
    rank,
    trial_rows,
    verdict,
)
from dermseg.tuning.search import grid
from dermseg.tuning.trials import training_options, tune

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
Said = list[str]
SMALL = TuningSettings(
    learning_rates=(0.02, 0.001),
    dropouts=(0.0,),
    windows=(5.0, 10.0),
    highs=(0.5, 0.8),
    lows=(0.5,),
)
TWO = TuningSettings(
    learning_rates=(0.02, 0.001), dropouts=(0.0,), windows=(5.0,), highs=(0.5,), lows=(0.4, 0.5)
)


@pytest.fixture
def base(tiny: Maker) -> TrainingSettings:
    return tiny(fold=None, folds=3, epochs=2)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Return what trainings say, from now on."""
    lines: Said = []
    monkeypatch.setattr(loop, "say", lines.append)
    return lines


def table(output: Path, name: str = "trials.csv") -> list[dict[str, str]]:
    """Return a table's rows, but for what the clock says."""
    with (output / name).open(newline="") as handle:
        return [{k: v for k, v in row.items() if k != "hours"} for row in csv.DictReader(handle)]


def result(jaccard: Any, fold_of: Any, rate: float = 0.01) -> Result:
    images = [f"image-{number}" for number in range(len(fold_of))]
    return Result(Point(rate, 0.5, 10.0), images, np.array(fold_of), np.array(jaccard, float), 1.5)


class TestChoice:
    """By tables whose answers are known by hand."""

    def test_the_best_thresholds_are_those_of_the_highest_mean(self) -> None:
        assert best_choice(np.array([[0.2, 0.9, 0.6], [0.8, 0.3, 0.7]])) == 2
        assert best_choice(np.array([[0.5, 0.7, 0.7]])) == 1, "the first of equal ones"

    def test_a_fold_is_scored_by_the_choice_of_the_others(self) -> None:
        # Fold 0 alone would choose the second, fold 1 the first: each gets the other's choice.
        jaccard = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.6, 0.5]])
        fitted = cross_fitted(jaccard, np.array([0, 0, 1, 1]))
        assert fitted.tolist() == [0.1, 0.2, 0.3, 0.5]

    def test_what_is_best_on_every_fold_is_not_flattered(self) -> None:
        jaccard = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        assert cross_fitted(jaccard, np.array([2, 0, 1])).tolist() == [0.9, 0.8, 0.7]

    def test_one_fold_leaves_nothing_to_choose_on(self) -> None:
        with pytest.raises(ValueError, match="another fold"):
            cross_fitted(np.ones((3, 2)), np.zeros(3, int))
        rows = trial_rows([result([[1.0], [0.5]], [0, 0])], [ThresholdSettings()])
        assert rows[0]["cross_fitted"] == ""

    def test_cross_fitting_takes_off_the_luck(self) -> None:
        """Among choices that are noise the best one's mean is luck."""
        noise = np.random.default_rng(0).random((400, 30))
        fitted = cross_fitted(noise, np.arange(400) % 5).mean()
        assert fitted < noise.mean(0).max()
        assert fitted == pytest.approx(0.5, abs=0.03)

    def test_rows_are_ranked_and_compared_by_image(self) -> None:
        pairs = [ThresholdSettings(high=0.8, low=0.4), ThresholdSettings(high=0.8, low=0.5)]
        fold_of = [0, 0, 1, 1]
        worse = result([[0.1, 0.3], [0.1, 0.5], [0.1, 0.4], [0.1, 0.6]], fold_of, 0.02)
        better = result([[0.5, 0.1], [0.7, 0.1], [0.6, 0.1], [0.8, 0.1]], fold_of, 0.03)
        ranked = rank([worse, better])
        assert ranked == [better, worse]
        first, second = trial_rows(ranked, pairs)
        assert (first["jaccard"], first["low"], first["difference"]) == (0.65, 0.4, 0)
        assert (second["jaccard"], second["low"], second["learning_rate"]) == (0.45, 0.5, 0.02)
        # Every image is 0.2 worse, so there is no doubt, however far apart the images are.
        ends = (second["difference_95_low"], second["difference_95_high"])
        assert (second["difference"], *ends) == (-0.2, -0.2, -0.2)
        assert second["jaccard_95_low"] < 0.45 < second["jaccard_95_high"]  # type: ignore[operator]
        assert [row["jaccard"] for row in pair_rows(ranked, pairs)] == [0.65, 0.1, 0.1, 0.45]

    @pytest.mark.parametrize(
        ("high", "expected"),
        [(-0.001, "worse"), (0.0, "no difference shown"), (0.01, "no difference shown")],
    )
    def test_the_verdict_is_a_plain_word(self, high: float, expected: str) -> None:
        row = {"difference": -0.01, "difference_95_low": -0.03, "difference_95_high": high}
        assert verdict(row).endswith(f": {expected}")


@pytest.fixture
def bridged(toy_data: Path) -> dict[str, Path]:
    """Return the toy data's masks by image."""
    return {pair.image_id: pair.mask for pair in find_pairs(toy_data)}


class TestScores:
    @pytest.mark.parametrize("known", [ThresholdSettings(high=0.9, low=0.6), None])
    def test_maps_for_which_one_pair_is_right(
        self,
        known: ThresholdSettings | None,
        toy_data: Path,
        tmp_path: Path,
        base: TrainingSettings,
        bridged: dict[str, Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The lesion at 0.95 to its border, round it a rim of 0.55, and elsewhere a larger 0.85."""

        def stand_in(data: Path, run: Path, settings: TrainingSettings, *_: Any) -> None:
            ids = [name for n, name in enumerate(sorted(bridged)) if n % 3 == settings.fold]
            maps = []
            for name in ids:
                truth = np.asarray(Image.open(bridged[name])) > 128
                map_ = np.full((32, 32), 0.1, np.float16)
                rim = np.pad(truth, 2)
                for shift in (1, -1):
                    rim |= np.roll(rim, shift, 0) | np.roll(rim, shift, 1)
                map_[rim[2:-2, 2:-2]] = 0.55
                map_[truth] = 0.95
                if known is not None:
                    map_[-3:] = 0.85  # more mass than any disc's
                    map_[-4:-3] = 0.1
                maps.append(map_)
            run.mkdir(parents=True)
            write_held_out(run, ids, np.stack(maps), np.zeros(len(ids), np.bool_))
            (run / "weights.safetensors").touch()

        monkeypatch.setattr(trials, "train", stand_in)
        monkeypatch.setattr(trials.checkpoints, "load", lambda _: ({}, {"hours": 0.5}))
        searched = TuningSettings((0.02,), (0.0,), (5.0,), (0.6, 0.9), (0.4, 0.5, 0.6))
        text = tune(toy_data, tmp_path / "out", base, searched)
        rows = table(tmp_path / "out", "thresholds.csv")
        assert len(rows) == 6, "all pairs are reported, not only the best"
        best = table(tmp_path / "out")[0]
        assert float(best["low"]) == 0.6
        assert float(best["jaccard"]) == pytest.approx(1, abs=0.02)
        if known is not None:
            assert (float(best["high"]), float(best["low"])) == (known.high, known.low)
            assert "--high 0.9 --low 0.6" in text
        maps = read_held_out(tmp_path / "out" / "trials" / best["trial"])
        pairs = {pair.image_id: pair for pair in find_pairs(toy_data)}
        for row in rows:
            pair = ThresholdSettings(high=float(row["high"]), low=float(row["low"]))
            expected = evaluate_maps(maps, pairs, pair).mean.jaccard
            assert float(row["jaccard"]) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


class TestTune:
    @pytest.fixture
    def done(self, toy_data: Path, tmp_path: Path, base: TrainingSettings, kept: Path) -> Path:
        """Return a finished search, its folder a copy of one that is made once."""
        if not (kept / "text").exists():
            made = tune(toy_data, tmp_path / "out", base, SMALL, protocol="short")
            (kept / "text").write_text(made.replace(str(tmp_path), "HERE"))
            shutil.copytree(tmp_path / "out", kept / "out")
            shutil.rmtree(tmp_path / "out")
        shutil.copytree(kept / "out", tmp_path / "out")
        self.text = (kept / "text").read_text().replace("HERE", str(tmp_path))
        return tmp_path / "out"

    def test_the_grid_is_complete_and_written_down(self, done: Path) -> None:
        names = {point.name for point in grid(SMALL)}
        assert len(names) == 4
        assert {path.name for path in (done / "trials").iterdir()} == names
        assert {row["trial"] for row in table(done)} == names
        plan = json.loads((done / "grid.json").read_text())
        assert {Point(**each) for each in plan["trials"]} == set(grid(SMALL))
        assert plan["tuning"]["highs"] == [0.5, 0.8]

    def test_the_grid_is_written_down_before_it_starts(
        self,
        toy_data: Path,
        tmp_path: Path,
        base: TrainingSettings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[bool] = []

        def stop(*_: Any, **__: Any) -> None:
            seen.append((tmp_path / "out" / "grid.json").is_file())
            raise KeyboardInterrupt

        monkeypatch.setattr(trials, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            tune(toy_data, tmp_path / "out", base, SMALL)
        assert seen == [True]

    def test_rows_hold_their_trials(self, done: Path, toy_data: Path) -> None:
        rows = table(done)
        assert [float(r["jaccard"]) for r in rows] == sorted(
            (float(r["jaccard"]) for r in rows), reverse=True
        )
        masks = {pair.image_id: pair for pair in find_pairs(toy_data)}
        for row in rows:
            folder = done / "trials" / row["trial"]
            pair = ThresholdSettings(high=float(row["high"]), low=float(row["low"]))
            expected = evaluate_maps(read_held_out(folder), masks, pair).mean.jaccard
            assert float(row["jaccard"]) == pytest.approx(expected, abs=1e-5)
            assert float(row["cross_fitted"]) <= float(row["jaccard"]) + 1e-5
            assert (row["images"], row["epochs"], row["note"]) == ("15", "2", "")
            for fold in range(3):
                written = json.loads((folder / f"fold-{fold}" / "settings.json").read_text())
                settings = TrainingSettings.from_dict(written["settings"])
                assert settings.learning_rate == float(row["learning_rate"])
                assert settings.augmentation.window == float(row["window"])
                assert (settings.dropout, settings.fold) == (float(row["dropout"]), fold)

    def test_no_image_is_scored_by_a_network_that_saw_it(self, done: Path) -> None:
        for folder in (done / "trials").iterdir():
            fold_of = json.loads((folder / "fold-0" / "folds.json").read_text())
            with np.load(folder / "jaccard.npz") as scores:
                scored = dict(
                    zip(scores["images"].tolist(), scores["fold_of"].tolist(), strict=True)
                )
            assert scored == fold_of
            for fold in range(3):
                held_out = read_held_out(folder / f"fold-{fold}")
                assert sorted(held_out) == sorted(n for n, f in fold_of.items() if f == fold)

    def test_there_is_one_cache(self, done: Path) -> None:
        assert [path.parent for path in done.rglob("images.npy")] == list(
            {path.parent for path in (done / "cache").rglob("images.npy")}
        )
        assert not list(done.glob("trials/*/*/cache"))

    def test_the_conclusions_command_goes_on_with_the_best_trial(
        self, done: Path, said: Said
    ) -> None:
        best = table(done)[0]
        lines = [shlex.split(line) for line in self.text.splitlines() if "dermseg" in line]
        assert [line[:2] for line in lines] == [
            ["dermseg", name] for name in ("train", "export", "segment")
        ]
        assert main(lines[0][1:]) == 0
        assert sum("finished already" in line for line in said) == 3
        folder = done / "trials" / best["trial"]
        assert (folder / "all" / "weights.safetensors").is_file()
        assert (folder / "members.csv").is_file()
        assert not list(folder.glob("**/images.npy"))

    def test_a_second_call_trains_nothing_and_says_the_same(
        self, done: Path, toy_data: Path, base: TrainingSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = table(done), table(done, "thresholds.csv")
        monkeypatch.setattr(trials, "train", lambda *_, **__: pytest.fail("trained again"))
        assert tune(toy_data, done, base, SMALL, protocol="short") == self.text
        assert (table(done), table(done, "thresholds.csv")) == before

    def test_the_commands_load_the_same_plugins(
        self, done: Path, toy_data: Path, base: TrainingSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plugins, "LOADED", ["my own.py"])
        said = tune(toy_data, done, base, SMALL, protocol="short")
        commands = [shlex.split(line) for line in said.splitlines() if "dermseg" in line]
        with_plugin = [line[1] for line in commands if line[-2:] == ["--plugin", "my own.py"]]
        assert with_plugin == ["train", "export"]

    def test_without_its_journal_nothing_is_trained_again(
        self, done: Path, toy_data: Path, base: TrainingSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trials, "train", lambda *_, **__: pytest.fail("trained again"))
        (done / "journal.jsonl").unlink()
        assert tune(toy_data, done, base, SMALL, protocol="short") == self.text

    def test_scores_that_are_gone_are_missed(
        self, done: Path, toy_data: Path, base: TrainingSettings, said: Said
    ) -> None:
        next(done.glob("trials/*/jaccard.npz")).unlink()
        with pytest.raises(DataError, match=r"jaccard\.npz: gone; remove .*journal\.jsonl"):
            tune(toy_data, done, base, SMALL)
        (done / "journal.jsonl").unlink()
        assert tune(toy_data, done, base, SMALL, protocol="short") == self.text
        assert sum("finished already" in line for line in said) == 3

    def test_another_search_in_the_folder_is_refused(
        self, done: Path, toy_data: Path, base: TrainingSettings, tiny: Maker, said: Said
    ) -> None:
        wider = TuningSettings(**{**vars(SMALL), "learning_rates": (0.02, 0.001, 0.003)})
        for training, searched in ((tiny(fold=None, folds=3, epochs=9), SMALL), (base, wider)):
            with pytest.raises(UsageError, match=r"another search .*grid\.json"):
                tune(toy_data, done, training, searched)
        assert len(table(done)) == 4
        (done / "grid.json").unlink()  # the remedy: what is trained stays
        tune(toy_data, done, base, wider)
        assert len(table(done)) == 6
        assert sum(line.startswith("Training ") for line in said) == 2 * 3

    def test_fewer_folds(self, toy_data: Path, tmp_path: Path, base: TrainingSettings) -> None:
        searched = TuningSettings(**{**vars(TWO), "folds_used": 1})
        text = tune(toy_data, tmp_path / "out", base, searched)
        rows = table(tmp_path / "out")
        assert [(row["images"], row["cross_fitted"]) for row in rows] == [("5", "")] * 2
        assert "other folds" not in text
        trial = tmp_path / "out" / "trials" / rows[0]["trial"]
        assert [path.name for path in trial.glob("fold-*")] == ["fold-0"]


class TestStopped:
    @pytest.fixture
    def calm(self, toy_data: Path, tmp_path: Path, base: TrainingSettings, kept: Path) -> Path:
        """Return a search that nobody stopped, its folder a copy of one that is made once."""
        if not (kept / "calm").exists():
            tune(toy_data, tmp_path / "made", base, TWO)
            (tmp_path / "made").rename(kept / "calm")
        return Path(shutil.copytree(kept / "calm", tmp_path / "calm"))

    @pytest.mark.parametrize("kill", [4, 11])
    @pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
    def test_a_killed_search_ends_with_the_same_table(
        self, kill: int, calm: Path, toy_data: Path, base: TrainingSettings, said: Said
    ) -> None:
        """Killed at a checkpoint: in the first trial's second fold, or in the second trial."""
        output = calm.with_name("killed")
        code = (
            "import os, signal, sys\n"
            f"sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
            "from pathlib import Path\n"
            "from toy import Tiny\n"
            "from dermseg.settings import *\n"
            "from dermseg.training import checkpoints, networks\n"
            "from dermseg.tuning import trials\n"
            "networks.NETWORKS['tiny'] = Tiny\n"
            "save, saved = checkpoints.save, []\n"
            "def killing(*arguments):\n"
            "    saved.append(save(*arguments))\n"
            f"    if len(saved) == {kill}: os.kill(os.getpid(), signal.SIGKILL)\n"
            "checkpoints.save = killing\n"
            f"trials.tune(Path({str(toy_data)!r}), Path({str(output)!r}), {base!r}, {TWO!r})\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert done.returncode == -9, done.stderr
        tune(toy_data, output, base, TWO)
        # No epoch is trained twice; of three files that a fold saves, two are its epochs.
        epochs = sum(line.startswith("epoch ") for line in said)
        assert epochs == 2 * 2 * 3 - (kill - kill // 3)
        assert table(output) == table(calm)
        assert table(output, "thresholds.csv") == table(calm, "thresholds.csv")

    @pytest.mark.parametrize("sampler", ["grid", "tpe"])
    def test_an_interrupted_search_ends_with_the_same_table(
        self,
        sampler: str,
        toy_data: Path,
        tmp_path: Path,
        base: TrainingSettings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        searched = TuningSettings(
            **{**vars(TWO), "sampler": sampler, "trials": 3 if sampler == "tpe" else None}
        )
        calm = tune(toy_data, tmp_path / "out", base, searched)
        expected = table(tmp_path / "out")
        assert len(expected) == (3 if sampler == "tpe" else 2)
        (tmp_path / "out").rename(tmp_path / "calm")
        calls = iter(range(100))

        def interrupted(*arguments: Any, **options: Any) -> None:
            if next(calls) in (1, 3, 7):  # in the first trial twice, then in the second
                raise KeyboardInterrupt
            loop.train(*arguments, **options)

        monkeypatch.setattr(trials, "train", interrupted)
        text = ""
        while not text:
            with suppress(KeyboardInterrupt):
                text = tune(toy_data, tmp_path / "out", base, searched)
        assert text == calm
        assert table(tmp_path / "out") == expected

    @pytest.mark.parametrize("known", [True, False])
    def test_a_trial_that_another_process_runs_is_left_to_it(
        self,
        known: bool,
        toy_data: Path,
        tmp_path: Path,
        base: TrainingSettings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whether or not the journal tells; what the other does not finish is made later."""
        output, others = tmp_path / "out", grid(TWO)[0]

        def stop(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        if known:
            with monkeypatch.context() as patch:
                patch.setattr(trials, "train", stop)
                with pytest.raises(KeyboardInterrupt):
                    tune(toy_data, output, base, TWO)
        folder = output / "trials" / others.name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            text = tune(toy_data, output, base, TWO)
        assert text.startswith("1 of 2 trials")
        assert [row["trial"] for row in table(output)] == [grid(TWO)[1].name]
        assert tune(toy_data, output, base, TWO).startswith("2 of 2 trials")

    def test_a_damaged_journal_is_named_with_the_remedy(
        self, calm: Path, toy_data: Path, base: TrainingSettings
    ) -> None:
        journal = calm / "journal.jsonl"
        journal.write_bytes(b'{"op_code"\n' + journal.read_bytes())
        with pytest.raises(DataError, match=r"journal\.jsonl: damaged; remove it"):
            tune(toy_data, calm, base, TWO)
        (calm / "grid.json").write_text("{")
        with pytest.raises(DataError, match=r"grid\.json: damaged"):
            tune(toy_data, calm, base, TWO)


class TestDiverged:
    @pytest.fixture(autouse=True)
    def _diverging(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def diverging(data: Path, run: Path, settings: TrainingSettings, *rest: Any) -> None:
            if settings.learning_rate >= 0.02 and settings.fold == 1:
                raise DivergedError("the loss is no longer a number in epoch 1")
            loop.train(data, run, settings, *rest)

        monkeypatch.setattr(trials, "train", diverging)

    @pytest.mark.parametrize("sampler", ["grid", "tpe"])
    def test_it_costs_that_trial_alone(
        self, toy_data: Path, tmp_path: Path, base: TrainingSettings, sampler: Any
    ) -> None:
        searched = TuningSettings(
            **{**vars(TWO), "learning_rates": (0.02, 0.03, 0.001), "sampler": sampler}
        )
        tune(toy_data, tmp_path / "out", base, searched)
        rows = table(tmp_path / "out")
        assert len(rows) == 3
        for row in rows:
            diverged = float(row["learning_rate"]) >= 0.02
            assert (row["note"], row["jaccard"] == "") == ("diverged" * diverged, diverged)

    def test_if_all_do_there_is_no_conclusion(
        self, toy_data: Path, tmp_path: Path, base: TrainingSettings
    ) -> None:
        searched = TuningSettings(**{**vars(TWO), "learning_rates": (0.02, 0.03)})
        with pytest.raises(DataError, match="lower --learning-rates"):
            tune(toy_data, tmp_path / "out", base, searched)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Return the names of the files that Python opens while the test runs."""
    names: list[str] = []
    listening = [True]

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and listening:
            names.append(str(arguments[0]))

    sys.addaudithook(hear)
    yield names
    listening.clear()


def test_validation_images_are_never_read(
    toy_data: Path, tmp_path: Path, base: TrainingSettings, opened: list[str]
) -> None:
    archives = tmp_path / "ISIC-2017"
    archives.mkdir()
    (toy_data / "images").rename(archives / "ISIC-2017_Training_Data")
    (toy_data / "masks").rename(archives / "ISIC-2017_Training_Part1_GroundTruth")
    for name in ("ISIC-2017_Validation_Data", "ISIC-2017_Validation_Part1_GroundTruth"):
        (archives / name).mkdir()
        (archives / name / "ISIC_9999999.png").write_text("no image: whoever reads it fails")
    opened.clear()
    tune(archives, tmp_path / "out", base, TWO)
    read = [name for name in opened if name.endswith(".png")]
    assert any("Training" in name for name in read)
    assert not [name for name in read if "Validation" in name]


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"learning_rates": ()}, "--learning-rates: name at least one"),
            ({"learning_rates": (0.1, 0.0)}, "--learning-rate 0.0"),
            ({"learning_rates": (float("nan"),)}, "--learning-rate nan"),
            ({"dropouts": (0.5, 0.5)}, "--dropouts: a value is named twice"),
            ({"dropouts": (1.0,)}, "--dropout 1.0"),
            ({"windows": (50.0,)}, "window 0 to 50"),
            ({"highs": (1.5,)}, "high 1.5"),
            ({"lows": (0.0,)}, "0.0: must be above 0"),
            ({"highs": (0.5,), "lows": (0.6,)}, "--lows: all are above"),
            ({"rule": "papre"}, "papre"),
            ({"sampler": "random"}, "--sampler random: choose grid or tpe"),
            ({"folds_used": 0}, "--folds-used"),
            ({"trials": 3}, "--trials is for --sampler tpe"),
            ({"trials": 0, "sampler": "tpe"}, "--trials"),
            (
                {"sampler": "tpe", "learning_rates": (1,), "dropouts": (0,), "windows": (0,)},
                "nothing to draw",
            ),
        ],
    )
    def test_a_search_that_makes_no_sense_is_refused(
        self, changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UsageError, match=message):
            TuningSettings(**changes)

    def test_the_defaults(self) -> None:
        usual = TuningSettings()
        assert len(grid(usual)) == usual.grid_size == 12
        assert Point(0.003, 0.5, 10.0) in grid(usual), "the training's own defaults"
        assert ThresholdSettings() in usual.thresholds
        assert all(pair.low <= pair.high for pair in usual.thresholds)
        assert len(usual.thresholds) == 11

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"learning_rate": 0.5}, "give --learning-rates"),
            ({"dropout": 0.1}, "give --dropouts"),
            ({"augmentation": AugmentationSettings(window=3)}, "give --windows"),
            ({"fold": 1}, "--folds-used"),
            ({"folds": 1}, "--folds must be at least 2"),
            ({"folds": 2}, "--folds-used 3: there are 2"),
            ({"network": "cdnn30"}, "cdnn30"),
        ],
    )
    def test_what_a_search_cannot_take_over_is_refused_before_it_starts(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, changes: dict[str, Any], message: str
    ) -> None:
        settings = tiny(**{"fold": None, **changes})
        with pytest.raises(UsageError, match=message):
            tune(toy_data, tmp_path / "out", settings, TuningSettings(folds_used=3))
        assert not (tmp_path / "out").exists()

    def test_processes_of_torchrun_are_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They would train one network together, each with the settings of its own trial."""
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(UsageError, match="without torchrun"):
            tune(toy_data, tmp_path / "out", tiny(fold=None), SMALL)
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_cannot_be_is_named(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"file.*: cannot be written"):
            tune(toy_data, tmp_path / "file" / "out", tiny(fold=None), SMALL)

    def test_a_trial_that_cannot_be_written_is_named(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "trials").touch()
        with pytest.raises(OutputError, match=r"rate-0\.02_.*cannot be written"):
            tune(toy_data, tmp_path / "out", tiny(fold=None), SMALL)

    def test_names_tell_points_apart(self) -> None:
        values = [0.1, 0.1000001, 1e-5, 10.0, 5]
        names = {Point(rate, 0.5, 10.0).name for rate in values}
        assert len(names) == len(values)
        assert Point(0.003, 0.5, 10.0).name == "rate-0.003_dropout-0.5_window-10"


def test_settings_are_chosen_by_the_masks_of_one_style(
    toy_data: Path, tmp_path: Path, base: TrainingSettings
) -> None:
    names = [f"ISIC_{number:07}" for number in range(15)]
    rows = [f"{name},{'traced' if n < 6 else 'semi-automatic'}" for n, name in enumerate(names)]
    (toy_data / "mine.csv").write_text("image_id,style\n" + "\n".join(rows))
    one = replace(TWO, learning_rates=(0.02,), style="traced")
    computing = DataSettings(device="cpu", mask_frame="stored")
    text = tune(toy_data, tmp_path / "out", replace(base, epochs=1), one, computing)
    assert table(tmp_path / "out")[0]["images"] == "6"
    train, _, segment = (line for line in text.splitlines() if "dermseg" in line)
    assert "--mask-frame stored" in train
    assert "--style traced" in segment


class TestCommandLine:
    def test_options_reach_the_search(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        given: list[Any] = []
        monkeypatch.setattr(trials, "tune", lambda *a, **o: given.append((a, o)) or "the best")
        arguments = "--protocol short --epochs 9 --learning-rates 0.1 0.2 --highs 0.7 --sampler tpe"
        assert main(["tune", "data", "-o", "out", *arguments.split(), "--trials", "5"]) == 0
        (_, _, training, searched, computing), options = given[0]
        assert training == TrainingSettings(**{**vars(PROTOCOLS["short"]), "epochs": 9})
        assert searched == TuningSettings(
            learning_rates=(0.1, 0.2), highs=(0.7,), sampler="tpe", trials=5
        )
        assert (options["protocol"], computing.device) == ("short", "auto")
        assert capsys.readouterr().out == "the best\n"

    @pytest.mark.parametrize("name", PROTOCOLS)
    def test_every_protocol_can_be_searched(
        self, name: Any, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun: list[Any] = []

        def take(search: Any, _: Any) -> None:
            begun.append(search)
            raise UsageError("enough")

        monkeypatch.setattr(trials, "take", take)
        words = ["tune", str(toy_data), "-o", str(tmp_path), "--protocol", name, "--height", "32"]
        words += ["--width", "32", "--batch-size", "4"]
        assert main([*words, "--precision", "float32"]) == 2
        assert begun[0].training.learning_rate == PROTOCOLS[name].learning_rate

    @pytest.mark.parametrize("name", PROTOCOLS)
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"epochs": 13, "schedule": "constant", "learning_rate": 1e-05, "ema_epochs": 0.0},
            {"augmentation": AugmentationSettings(flip=False, window=2.5), "folds": 3, "seed": 4},
        ],
    )
    def test_a_command_line_gives_back_the_settings(
        self, name: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = TrainingSettings(**{**vars(PROTOCOLS[name]), **changes})
        given: list[TrainingSettings] = []
        monkeypatch.setattr(
            protocol, "train_protocol", lambda _, __, s, *___, **____: given.append(s)
        )
        assert main(["train", "data", "-o", "out", *training_options(settings, name)]) == 0
        assert given == [settings]

    def test_contradictions_are_wrong_usage(
        self, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = str(tmp_path / "out")
        assert main(["tune", str(toy_data), "-o", output, "--dropout", "0.2"]) == 2
        assert "--dropouts" in capsys.readouterr().err
        assert main(["tune", str(toy_data), "-o", output, "--lows", "0.9", "--highs", "0.5"]) == 2
        assert "--lows" in capsys.readouterr().err
        assert main(["tune", str(toy_data), "-o", output, "--lows", "much"]) == 2
        assert not Path(output).exists()
