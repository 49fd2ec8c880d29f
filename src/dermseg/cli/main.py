"""The command line: one short function a command, each a call into a room.

Only the standard library, cyclopts, the settings and the list of experiments are imported here; a
command imports what it needs when it runs. Exit status: 0 all done, 1 something failed, 2 wrong
usage, 130 interrupted.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter, Token

from dermseg import __version__
from dermseg.errors import DermsegError, MissingExtraError, UsageError
from dermseg.experiments.registry import EXPERIMENTS
from dermseg.settings import (
    DEFAULT_MODEL,
    DEFAULT_STYLE,
    PROTOCOLS,
    Arithmetic,
    Protocol,
    ServiceSettings,
    Style,
    ThresholdSettings,
    TrainingSettings,
    TuningSettings,
    changed_options,
)


def _read_early(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Do what a command can no longer do, which sees values and not what was written."""
    _refuse_empty_paths(arguments)
    _apply_protocol(app, commands, arguments)


def _refuse_empty_paths(arguments: ArgumentCollection) -> None:
    """Raise UsageError for a path without a name, which would be the present folder."""
    for argument in arguments:
        if "Path" in str(argument.hint) and any(not token.value for token in argument.tokens):
            raise UsageError(f"{argument.name} is empty: name a file or a folder")


def _apply_protocol(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let --protocol set what the command line does not set itself.

    Here and not in the command, which could not tell a default from a choice.
    """
    chosen = arguments.get("--protocol", None)
    name = chosen.tokens[0].value if chosen is not None and chosen.tokens else None
    if name not in PROTOCOLS:
        return  # none was asked for, or cyclopts is about to say which ones there are
    for option, value in changed_options(PROTOCOLS[name], TrainingSettings()).items():
        if not arguments[option].tokens:
            arguments[option].append(Token(keyword=option, value=str(value), source="protocol"))


app = App(
    name="dermseg",
    config=_read_early,
    version=__version__,
    help="Find the lesion in dermoscopic photographs. For research; not a medical device.",
    suppress_keyboard_interrupt=False,
    help_epilogue="--debug with any command shows the traceback of an error.",
)
benchmark = App(
    name="benchmark",
    help="Time dermseg on this machine.\n\nExample: dermseg benchmark segment --json segment.json",
)
app.command(benchmark)
app.register_install_completion_command()
Flat = Parameter(name="*")
FlatLists = Parameter(name="*", consume_multiple=True, negative=())
DEBUG = "--debug"


@app.command
def segment(
    photographs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    overlay: Path | None = None,
    review: int | None = None,
    model: str = DEFAULT_MODEL,
    style: Style = DEFAULT_STYLE,
    mirror: bool | None = None,
    size_from: Path | None = None,
    device: str = "cpu",
    thresholds: Annotated[ThresholdSettings | None, Flat] = None,
) -> int:
    """Write a mask for each photograph, and report.csv.

    Example: dermseg segment photographs/ -o masks/ --overlay pictures/

    Parameters
    ----------
    photographs
        Files, or folders with their subfolders.
    output
        Folder for the masks, `<name>_segmentation.png`, and report.csv.
    overlay
        Folder for pictures with the lesion's outline, and where the model says, the band in which
        the border lies.
    review
        List this many masks, the least sure first, in OUTPUT/review.csv, with a contact sheet,
        OUTPUT/review_sheet.jpg; needs a model that says how sure it is.
    model
        A shipped model's name, or an .onnx file written by `dermseg export`.
    style
        How lesions are outlined: "traced", generous and smooth, as an expert draws them by hand;
        or "semi-automatic", tight and jagged, as a flood fill does.
    mirror
        Average the probability over the photograph and its three mirror images, which takes four
        times as long; unless given, as the model's card says.
    size_from
        Folder of masks whose sizes to take instead of the photographs' (for thumbnails).
    device
        cpu, or cuda with onnxruntime-gpu installed.
    """
    from dermseg.batch.jobs import find_jobs, passed_over
    from dermseg.batch.least_sure import TABLE, check_says_how_sure, write_least_sure
    from dermseg.batch.run import segment_all
    from dermseg.inference.segmenter import Segmenter

    if review is not None and review < 1:
        raise UsageError(f"--review {review}: must be at least 1")
    jobs = find_jobs(photographs, without=(output, overlay))
    segmenter = Segmenter(model, style=style, thresholds=thresholds, mirror=mirror, device=device)
    if review is not None:
        check_says_how_sure(segmenter)
    _say(f"{segmenter.description}: {len(jobs)} photographs")
    for line in passed_over(photographs):
        _say(f"passed over: {line}")
    results = segment_all(jobs, segmenter, output, overlay=overlay, size_from=size_from)
    failed = [result for result in results if result.error]
    for result in failed:
        _say(f"failed: {result.error}")
        if _debug and result.bug:
            _say(result.bug)
    done = len(results) - len(failed)
    reused = sum(result.reused for result in results)
    _say(f"{done} masks in {output} ({reused} from an earlier run), {len(failed)} failed")
    if review is not None:
        listed = write_least_sure(results, review, segmenter, output)
        _say(f"{output}: review.csv and review_sheet.jpg have the {listed} least sure")
    elif reused < done and (output / TABLE).exists():
        _say(f"{output / TABLE} is of an earlier run; --review makes it again")
    return 1 if failed else 0


@app.command
def evaluate(
    truth: Path, predictions: Path, /, *, json: Path | None = None, csv: Path | None = None
) -> int:
    """Score masks against the truth with the challenge's five metrics.

    Also by diagnosis, age and sex, where the tables of the data set lie beside the truth.

    Example: dermseg evaluate ISIC-2017_Validation_Part1_GroundTruth/ masks/

    Parameters
    ----------
    truth
        Folder of true masks.
    predictions
        Folder of masks to score.
    json
        File for the means, the groups and every image's metrics.
    csv
        File for a table of every image's metrics.
    """
    from dermseg.evaluation.scoring import evaluate

    evaluation = evaluate(truth, predictions)
    if json is not None:
        evaluation.write_json(json)
    if csv is not None:
        evaluation.write_csv(csv)
    for path in evaluation.grey:
        _say(f"{path}: not binary; its values above 128 count as lesion")
    print(evaluation)
    return 0


@app.command
def doctor(
    data: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    predictions: Path | None = None,
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Examine a data set: what a training would trip over, or learn wrongly.

    Sizes that differ, masks that are empty, full, in pieces or not binary, near-duplicates; and
    with predictions the masks that are likeliest wrong.

    Example: dermseg doctor ISIC-2017/ -o findings/ --predictions run/

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    output
        Folder for doctor.csv and doctor.png, a contact sheet.
    predictions
        Folder that `dermseg train` filled with --fold or --protocol: its images are compared
        with their masks.
    allow_resized
        Do not list photographs whose size is not their mask's (thumbnails).
    """
    from dermseg.data.doctor import examine, report
    from dermseg.training.run_folder import read_held_out

    maps = read_held_out(predictions) if predictions else {}
    findings = examine(data, maps, allow_resized=allow_resized)
    for finding in findings:
        print(f"{finding.image}: {finding.kind}: {finding.detail}")
    images = len({finding.image for finding in findings})
    print(f"{len(findings)} findings in {images} images")
    if output is not None:
        report(data, findings, output, maps)
    return 0


@app.command
def train(
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    device: str = "auto",
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
    cache: Path | None = None,
) -> int:
    """Train a network on a folder of photographs and masks; needs dermseg[train].

    Started again with the same options, it goes on where it was stopped.

    Example: dermseg train ISIC-2017/ -o runs/ --protocol short

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    output
        Folder for log.csv, checkpoints and the trained weights; with --protocol for one such
        folder a model, and members.csv.
    protocol
        Train the paper's six models, a fold held out from each of five and nothing from the
        sixth: with its settings (192 x 256, 600 epochs), with short ones (RGB, 96 x 128, 46
        epochs, one-cycle), or lite0 from ImageNet weights (22 epochs). Other options change the
        settings; --fold K trains that fold's model alone.
    device
        auto, cpu or cuda.
    allow_resized
        Accept photographs whose size is not their mask's (thumbnails of the official ones).
    cache
        Folder for the decoded images, to share between trainings; OUTPUT/cache unless given.
    """
    _require("train", *TRAINING)
    from dermseg.training.loop import train
    from dermseg.training.protocol import train_protocol

    work = train if protocol is None else train_protocol
    work(data, output, settings, device=device, allow_resized=allow_resized, cache=cache)
    return 0


@app.command
def tune(
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,
    tuning: Annotated[TuningSettings, FlatLists] = TuningSettings(),
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    device: str = "auto",
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
    cache: Path | None = None,
) -> int:
    """Search for settings by their Jaccard index out of fold; needs dermseg[tune].

    Tries learning rates, dropouts, contrast windows and the two thresholds. Started again with the
    same options, it goes on where it was stopped; several processes can share a search.

    Example: dermseg tune ISIC-2017/ -o search/ --protocol short --learning-rates 0.001 0.003

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    output
        Folder for grid.json, what is tried; trials.csv, a row a trial, best first; thresholds.csv,
        a row a pair of thresholds; and every trial's trainings.
    protocol
        Settings that all trials share, the paper's or others, as in `dermseg train`. Other
        options change them.
    device
        auto, cpu or cuda.
    allow_resized
        Accept photographs whose size is not their mask's (thumbnails of the official ones).
    cache
        Folder for the decoded images, to share between trainings; OUTPUT/cache unless given.
    """
    _require("tune", *TRAINING, "optuna", "filelock")
    from dermseg.tuning.trials import tune

    conclusion = tune(
        data,
        output,
        settings,
        tuning,
        protocol=protocol,
        device=device,
        allow_resized=allow_resized,
        cache=cache,
    )
    print(conclusion)
    return 0


@app.command
def export(
    runs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    arithmetic: Arithmetic = "float32",
    coarse: Annotated[bool, Parameter(negative=())] = False,
    mirror: Annotated[bool, Parameter(negative=())] = False,
    calibrate_on: Path | None = None,
    check_on: Annotated[Sequence[Path], Parameter(consume_multiple=True, negative=())] = (),
) -> int:
    """Write finished trainings as an ONNX model for `dermseg segment --model`.

    Several networks, those of a protocol's folder or of several folders, become one model that
    averages their probabilities.

    Example: dermseg export run/ -o model.onnx --check-on photographs/*.jpg

    Parameters
    ----------
    runs
        Folders that `dermseg train` filled, with or without --protocol.
    output
        The ONNX file.
    arithmetic
        What the model computes in: float32, or int8, several times faster on a processor and half
        the size, with borders shifted a little.
    coarse
        Round the int8 weights of large layers, so that a compressed file, or a package, is half as
        large as without.
    mirror
        Use the model with mirror averaging unless the user says --no-mirror: a little better, and
        four times slower.
    calibrate_on
        The data set that the folders were trained on: the model then says how sure its masks are,
        as its networks were on images that they had not seen.
    check_on
        More photographs on which a float32 file must equal PyTorch before it is kept; a few
        training images are always among them.
    """
    _require("train", *TRAINING)
    from dermseg.export.exporter import export

    difference = export(
        runs,
        output,
        arithmetic=arithmetic,
        coarse=coarse,
        mirror=mirror,
        photographs=check_on,
        data=calibrate_on,
    )
    how = "by at most" if arithmetic == "float32" else "on average by"
    _say(f"{output}: differs from PyTorch {how} {difference:.1e} in probability")
    return 0


@app.command
def calibrate(
    model: str,
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
    cache: Path | None = None,
) -> int:
    """Learn how sure a model's masks are, and its thresholds, on your own photographs.

    For each style of outline of which DATA hold 200 masks or more. The weights stay as they are.

    Example: dermseg calibrate lite0 clinic/ -o lite0-clinic.onnx

    Parameters
    ----------
    model
        A shipped model's name, or an .onnx file written by `dermseg export`.
    data
        Folder laid out like the official archives, or with the folders images and masks. If the
        model was trained on it, each member of the ensemble predicts the fold that it held out.
    output
        The ONNX file to write.
    allow_resized
        Accept photographs whose size is not their mask's (thumbnails of the official ones).
    cache
        Folder for the decoded images, to share between runs; a temporary one unless given.
    """
    _require("train", *TRAINING)
    from tempfile import TemporaryDirectory

    from dermseg.export.recalibration import calibrate

    with TemporaryDirectory() as folder:
        card = calibrate(
            model, data, output, cache=cache or Path(folder), allow_resized=allow_resized
        )
    for style, facts in card.styles.items():
        quality = facts.confidence or {}
        _say(
            f"{style}: threshold at the border {facts.thresholds['low']:g}; of the masks without "
            f"a flag {quality['failed_unflagged']:.1%} fail, of {quality['images']} images"
        )
    return 0


@benchmark.command(name="segment")
def benchmark_segment(
    photographs: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    model: str = DEFAULT_MODEL,
    mirror: bool | None = None,
    json: Path | None = None,
    device: str = "cpu",
) -> int:
    """Time segmenting: one photograph, a folder, and the two ends beside them.

    These are decoding and encoding alone, and, with dermseg[train], the loop that most people
    write: Pillow, and the model's network in PyTorch.

    Example: dermseg benchmark segment --json segment.json

    Parameters
    ----------
    photographs
        Files or folders; without them photographs of four sizes are made from an example.
    model
        A shipped model's name, or an .onnx file written by `dermseg export`.
    mirror
        Average the probability over the photograph and its three mirror images, which takes four
        times as long; unless given, as the model's card says.
    json
        File for the numbers.
    device
        cpu, or cuda with onnxruntime-gpu installed.
    """
    from dermseg.benchmark.segmenting import benchmark
    from dermseg.inference.segmenter import Segmenter

    segmenter = Segmenter(model, mirror=mirror, device=device)
    plain = None
    try:
        _require("train", *TRAINING)
    except MissingExtraError as error:
        _say(f"no plain loop: {error}")
    else:
        from dermseg.benchmark.plain_loop import PlainLoop

        plain = PlainLoop(segmenter.card)
    result = benchmark(segmenter, photographs or (), plain)
    if json is not None:
        result.write_json(json)
    print(result)
    return 0


@benchmark.command(name="train")
def benchmark_train(
    data: Path,
    /,
    *,
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    steps: int = 20,
    json: Path | None = None,
    device: str = "auto",
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
    cache: Path | None = None,
) -> int:
    """Time training, and beside it a plain loop: MONAI's U-Net and PyTorch's DataLoader.

    Example: dermseg benchmark train ISIC-2017/ --height 96 --width 128

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    steps
        Steps to time; an epoch is extrapolated from them.
    json
        File for the numbers.
    device
        auto, cpu or cuda.
    allow_resized
        Accept photographs whose size is not their mask's (thumbnails of the official ones).
    cache
        Folder for the decoded images, to share with trainings; a temporary one unless given.
    """
    _require("train", *TRAINING)
    from dermseg.benchmark.training import benchmark

    result = benchmark(
        data, settings, steps=steps, device=device, allow_resized=allow_resized, cache=cache
    )
    if json is not None:
        result.write_json(json)
    print(result)
    return 0


@app.command(
    help_epilogue="Experiments:\n\n"
    + "\n".join(f"- {name}: {found.summary}" for name, found in EXPERIMENTS.items())
)
def experiment(
    name: str,
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,  # noqa: ARG001 - `_apply_protocol` has read it
    seeds: int = 1,
    folds_used: int | None = None,
    runs: Annotated[Sequence[Path], Parameter(consume_multiple=True, negative=())] = (),
    ledger: Path | None = None,
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    device: str = "auto",
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
    cache: Path | None = None,
) -> int:
    """Make one of the paper's comparisons again; needs dermseg[experiments].

    Trains what the comparison lacks, scores it, and says of each claim whether the data support
    it. Started again with the same options, it goes on where it was stopped.

    Example: dermseg experiment table-4 ISIC-2017/ -o results/ --protocol short --seeds 3

    Parameters
    ----------
    name
        One of the experiments below.
    data
        Folder laid out like the official archives, with the set that the experiment scores.
    output
        Folder for NAME.csv, NAME.json and NAME.md, and for the trainings, which experiments with
        the same settings share.
    protocol
        Settings of the trainings, as in `dermseg train`. Other options change them; what an
        experiment compares it sets itself.
    seeds
        Train everything this often, with seeds counted from --seed.
    folds_used
        Train the first folds only, to spare computing; all unless given.
    runs
        Folders that `dermseg train` filled, instead of training: one for each training that the
        experiment compares.
    ledger
        File that receives a line for each scoring of validation or test images;
        OUTPUT/ledger.csv unless given.
    device
        auto, cpu or cuda.
    allow_resized
        Accept photographs whose size is not their mask's (thumbnails of the official ones).
    cache
        Folder for the decoded images, to share between trainings; OUTPUT/cache unless given.
    """
    _require("experiments", *TRAINING, "matplotlib", "scipy", "skimage")
    from dermseg.experiments.run import run_experiment
    from dermseg.experiments.study import Options

    options = Options(seeds, folds_used, runs, ledger, device, allow_resized, cache)
    print(run_experiment(name, data, output, settings, options).read_text(encoding="utf-8"))
    return 0


@app.command
def report(folder: Path, /) -> int:
    """Put the experiments of a folder on one page: report.html, and report.md.

    The HTML page holds its figures, follows the light or dark of the reader's system, and prints.

    Example: dermseg report results/

    Parameters
    ----------
    folder
        Folder that `dermseg experiment` filled.
    """
    from dermseg.experiments.page import write_page

    for file in write_page(folder):
        print(file)
    return 0


@app.command
def serve(
    photographs: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    review: Path | None = None,
    model: str = DEFAULT_MODEL,
    style: Style = DEFAULT_STYLE,
    mirror: bool | None = None,
    device: str = "cpu",
    open: Annotated[bool, Parameter(negative=())] = False,
    service: Annotated[ServiceSettings, FlatLists] = ServiceSettings(),
    thresholds: Annotated[ThresholdSettings | None, Flat] = None,
) -> int:
    """Offer a page in the browser, and an HTTP service, on this machine.

    Photographs are worked on in memory and forgotten. With --review the page shows the masks of
    a folder, the least sure first, to be accepted or corrected; decisions.csv beside them
    keeps what was decided, and a review goes on where it stopped.

    Example: dermseg serve --open

    Parameters
    ----------
    photographs
        With --review: the photographs whose masks are reviewed; files or folders.
    review
        Folder of masks that `dermseg segment` filled. Corrected masks go to a folder beside it,
        named like it with -corrected.
    model
        A shipped model's name, or an .onnx file written by `dermseg export`.
    style
        How lesions are outlined: "traced", generous and smooth, as an expert draws them by hand;
        or "semi-automatic", tight and jagged, as a flood fill does.
    mirror
        Average the probability over the photograph and its three mirror images, which takes four
        times as long; unless given, as the model's card says.
    device
        cpu, or cuda with onnxruntime-gpu installed.
    open
        Open the page in the browser.
    """
    if (review is None) != (not photographs):
        raise UsageError("--review MASKS and PHOTOGRAPHS go together")
    _require("web", *WEB)
    from dermseg.inference.segmenter import Segmenter
    from dermseg.web.app import Server, create_app

    segmenter = Segmenter(model, style=style, thresholds=thresholds, mirror=mirror, device=device)

    def listening(address: str) -> None:
        _say(f"{segmenter.description}: {address} (Ctrl+C stops it)")
        if open:
            import webbrowser

            webbrowser.open(address)

    with ExitStack() as stack:
        queue = None
        if review is not None:
            from dermseg.web.review.queue import Review

            queue = stack.enter_context(Review.open(photographs or [], review, segmenter))
        with suppress(KeyboardInterrupt):  # how it is meant to end
            Server(create_app(segmenter, service, queue), service, listening).run()
    return 0


@app.command
def models(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """List the models that come with dermseg.

    Example: dermseg models --json

    Parameters
    ----------
    json
        Print everything, with the models' cards, as JSON.
    """
    from dermseg.inference.about import describe_models

    described = describe_models()
    if json:
        _print_json(described)
        return 0
    for name, model in described.items():
        default = ", the default" if name == DEFAULT_MODEL else ""
        size = f"{model['height']} x {model['width']}"
        print(f"{name}: {size}, {model['megabytes']} MB{default}")
    return 0


@app.command
def info(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Say what is installed: versions, processor, devices, models.

    Example: dermseg info --json

    Parameters
    ----------
    json
        Print everything, with the models' cards, as JSON.
    """
    from dermseg.inference.about import describe_installation

    described = describe_installation()
    if json:
        _print_json(described)
        return 0
    packages = ", ".join(f"{name} {found}" for name, found in described["packages"].items())
    processor = described["processor"]
    print(f"dermseg {described['dermseg']}, Python {described['python']}, {described['system']}")
    print(f"packages: {packages}")
    print(
        f"processor: {processor['name']}, {described['cores']} cores, "
        f"{' '.join(processor['features'])}"
    )
    print(f"models run on: {', '.join(described['devices'])}")
    print(f"models: {', '.join(described['models'])} (default {DEFAULT_MODEL})")
    return 0


def _print_json(value: object) -> None:
    from json import dumps

    print(dumps(value, indent=1))


TRAINING = ("onnx", "onnxscript", "safetensors", "torch")
"""What the extra "train" brings."""
WEB = ("fastapi", "python_multipart", "prometheus_client", "uvicorn")
"""What the extra "web" brings."""


def _require(extra: str, *packages: str) -> None:
    """Raise MissingExtraError, with the remedy, if one of `packages` cannot be imported."""
    from importlib import import_module

    try:
        for package in packages:
            import_module(package)
    except ImportError as error:
        raise MissingExtraError.naming(extra, f"this command needs {error.name}") from error


_debug = False
"""Whether tracebacks are shown; set by `main`, once."""


def _say(message: str, error: BaseException | None = None) -> None:
    """Print one line to standard error, and the traceback of `error` under --debug."""
    print(message.replace("\n", "\n  "), file=sys.stderr)
    if _debug and error is not None:
        import traceback

        traceback.print_exception(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    global _debug
    given = list(sys.argv[1:] if arguments is None else arguments)
    _debug = DEBUG in given
    try:
        with warnings.catch_warnings():
            # Oddities in a photograph's metadata; pixels that cannot be read are errors.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            status = app(
                [word for word in given if word != DEBUG],
                exit_on_error=False,
                result_action="return_value",
            )
    except CycloptsError:
        return 2  # cyclopts has said what was wrong
    except UsageError as error:
        _say(f"dermseg: {error}", error)
        return 2
    except DermsegError as error:
        _say(f"dermseg: {error}", error)
        return 1
    except KeyboardInterrupt:
        _say("dermseg: interrupted; what takes long goes on when it is started again")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # a bug: one line for people, the traceback for those who mend it
        _say(f"dermseg: {type(error).__name__}: {error} (a bug; {DEBUG} shows where)", error)
        return 1
    return status if isinstance(status, int) else 0


def run() -> None:
    """Run the command line as a program."""
    sys.exit(main())
