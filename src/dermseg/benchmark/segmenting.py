"""Segmenting, timed: one photograph, a folder, and the two ends that a folder's speed lies between.

The limit is what reading and decoding the photographs, and encoding and writing as many masks, take
alone on all cores. The plain loop is what most people write (`plain_loop`). All are timed in one
run, so that their ratios hold on other machines too.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image

from dermseg.batch.jobs import Job, find_jobs
from dermseg.batch.report import report_row
from dermseg.batch.run import segment_all
from dermseg.cores import parallel_map, usable_cores
from dermseg.errors import DermsegError
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import write_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.inference.session import asks_for_exact_sums
from dermseg.machine import describe_machine
from dermseg.storage.files import write_json

Plain = Callable[[Iterable[Path], Path], None]
"""Writes a mask into a folder for each photograph."""
EXAMPLES = Path(__file__).parent.parent / "web" / "static" / "examples"
SIZES = ((768, 1024), (1536, 2304), (3000, 4000), (4499, 6748))
"""Heights and widths of the photographs that are made; the last is ISIC 2017's largest."""
PIXELS = 24_000_000
"""About how many pixels of a made folder fall to each core."""
KINDS = 2
"""Photographs of a made folder that differ; the others are copies."""
GRAIN = 5.0
"""Standard deviation of the noise on made photographs. Enlarged examples are smooth; with this and
QUALITY they have 2.4 bits a pixel, the median of 16 of ISIC 2017's own files."""
QUALITY = 92
ROUNDS = 3
"""How often a folder is segmented in each way; the median counts."""
SINGLES = 20
"""Photographs that are timed one by one."""
WARM_UP = 2
"""Photographs before them that are not."""
STARTS = 3
"""How often a process is started; the median counts."""
CHILD = """
import sys
from dermseg.cli.main import main
from dermseg.cores import keep_memory
keep_memory()
status = main(sys.argv[1:])
from dermseg.benchmark.segmenting import peak_megabytes
print(peak_megabytes() or "")
sys.exit(status)
"""
"""The command line as a program, which says at its end how much memory it took."""


@dataclass(frozen=True)
class Stages:
    """What a photograph takes, one at a time in a warm process: mean milliseconds.

    `decode` includes reading the file, `network` shrinking to its size, `postprocess` all that the
    report says, and `encode` writing.
    """

    decode: float
    network: float
    postprocess: float
    encode: float


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What a folder takes.

    `one` and `one_95` are the median and the 95th percentile of one photograph in a warm process,
    from its file to its mask's, in milliseconds. Rates are photographs a second, from a folder
    to its masks and report; `plain_rate` is None without PyTorch. `cores_busy` is processor seconds
    a second. `peak_megabytes` is the memory of `dermseg segment`, None where it is not known.
    """

    name: str
    photographs: int
    megabytes: float
    one: float
    one_95: float
    stages: Stages
    rate: float
    limit_rate: float
    plain_rate: float | None
    cores_busy: float
    peak_megabytes: float | None

    @property
    def limit_share(self) -> float:
        """The rate as a share of the limit."""
        return self.rate / self.limit_rate

    @property
    def plain_ratio(self) -> float | None:
        """The rate over the plain loop's."""
        return self.rate / self.plain_rate if self.plain_rate else None


@dataclass(frozen=True, kw_only=True)
class SegmentingTimes:
    """Folders segmented with one model on one machine; one without VNNI takes longer for 8 bits.

    `start` is `dermseg segment` on one photograph, from the process's start to its exit, in
    seconds; `torch_start` is `python -c "import torch"`, None without PyTorch.
    """

    machine: str
    packages: dict[str, str]
    model: str
    height: int
    width: int
    start: float
    torch_start: float | None
    folders: list[Folder]

    def write_json(self, path: Path) -> None:
        """Write everything to `path`."""
        ratios = {
            each.name: {"limit": each.limit_share, "plain": each.plain_ratio}
            for each in self.folders
        }
        write_json(path, {**asdict(self), "ratios": ratios})

    def __str__(self) -> str:
        """Return a table for people."""

        def line(name: str, digits: int, values: Iterable[float | None]) -> str:
            cells = ("-" if value is None else f"{value:.{digits}f}" for value in values)
            return f"{name:28}" + "".join(f"{cell:>14}" for cell in cells)

        folders = self.folders
        return "\n".join(
            (
                f"{self.model} ({self.height} x {self.width}) on {self.machine}",
                line("start to exit, s", 2, [self.start]),
                line("import torch, s", 2, [self.torch_start]),
                f"{'':28}" + "".join(f"{each.name:>14}" for each in folders),
                line("one photograph, ms", 1, (each.one for each in folders)),
                line("  95th percentile", 1, (each.one_95 for each in folders)),
                line("  decode", 1, (each.stages.decode for each in folders)),
                line("  network", 1, (each.stages.network for each in folders)),
                line("  post-processing", 1, (each.stages.postprocess for each in folders)),
                line("  encode", 1, (each.stages.encode for each in folders)),
                line("photographs a second", 1, (each.rate for each in folders)),
                line("  decode and encode alone", 1, (each.limit_rate for each in folders)),
                line("  share of that", 2, (each.limit_share for each in folders)),
                line("  plain loop", 1, (each.plain_rate for each in folders)),
                line("  times that", 1, (each.plain_ratio for each in folders)),
                line("cores busy", 2, (each.cores_busy for each in folders)),
                line("peak memory, MB", 0, (each.peak_megabytes for each in folders)),
            )
        )


def time_segmenting(
    segmenter: Segmenter, photographs: Sequence[Path] = (), plain: Plain | None = None
) -> SegmentingTimes:
    """Time `segmenter` on `photographs`, files and folders, or on photographs that it makes.

    `plain` is a loop to compare with, none without PyTorch. Raises UsageError as `find_jobs` does.
    """
    machine = describe_machine()
    exact = ", no VNNI" if asks_for_exact_sums() else ""
    with TemporaryDirectory() as place:
        if photographs:
            folders = {"given": photographs}
        else:
            folders = {
                f"{width} x {height}": [make_photographs(Path(place) / str(width), height, width)]
                for height, width in SIZES
            }
        first = find_jobs(next(iter(folders.values())))[0].photograph
        return SegmentingTimes(
            machine=f"{machine['processor']['name']}, {machine['cores']} cores{exact}",
            packages=machine["packages"],
            model=segmenter.name,
            height=segmenter.height,
            width=segmenter.width,
            start=time_start(segmenter, first),
            torch_start=_median_of(STARTS, lambda: _python("-c", "import torch"))
            if plain
            else None,
            folders=[time_folder(name, named, segmenter, plain) for name, named in folders.items()],
        )


def make_photographs(folder: Path, height: int, width: int) -> Path:
    """Fill `folder` with JPEGs made of the examples, as many as have PIXELS for each core.

    Returns the folder.
    """
    folder.mkdir(parents=True)
    examples = cycle(sorted(EXAMPLES.glob("*.jpg")))
    kinds: list[bytes] = []
    for number in range(usable_cores() * max(2, round(PIXELS / (height * width)))):
        path = folder / f"{number}.jpg"
        if number < KINDS:
            with Image.open(next(examples)) as image:
                smooth = np.asarray(image.resize((width, height)), np.float32)
            grain = np.random.default_rng(number).standard_normal((height, width, 1), np.float32)
            pixels = (smooth + GRAIN * grain).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path, quality=QUALITY)
            kinds.append(path.read_bytes())
        else:
            path.write_bytes(kinds[number % KINDS])
    return folder


def time_folder(
    name: str, photographs: Sequence[Path], segmenter: Segmenter, plain: Plain | None
) -> Folder:
    """Time `photographs`, files and folders, in every way, and one by one."""
    jobs = find_jobs(photographs)
    paths = [job.photograph for job in jobs]
    with TemporaryDirectory() as place:
        masks = Path(place)
        enough = islice(cycle(jobs), WARM_UP + SINGLES)
        laps = np.array([time_stages(job, segmenter, masks) for job in enough])[WARM_UP:]
        limits, ours, busy, plains = [], [], [], []
        for turn in range(ROUNDS):
            limits.append(_seconds(partial(run_limit, paths, segmenter, masks)))
            before = time.process_time()
            ours.append(_seconds(partial(segment_all, jobs, segmenter, masks / str(turn))))
            busy.append((time.process_time() - before) / ours[-1])
            if plain is not None:
                plains.append(_seconds(partial(plain, paths, masks)))
        peak = measure_peak(photographs, segmenter, masks / "child")
    one = laps.sum(1)
    return Folder(
        name=name,
        photographs=len(jobs),
        megabytes=sum(path.stat().st_size for path in paths) / 1e6,
        one=float(np.median(one)),
        one_95=float(np.percentile(one, 95)),
        stages=Stages(*laps.mean(0).tolist()),
        rate=len(jobs) / median(ours),
        limit_rate=len(jobs) / median(limits),
        plain_rate=len(jobs) / median(plains) if plains else None,
        cores_busy=median(busy),
        peak_megabytes=peak,
    )


def time_stages(job: Job, segmenter: Segmenter, output: Path) -> list[float]:
    """Return the milliseconds of a photograph's `Stages`."""
    marks = [time.perf_counter()]
    photograph = segmenter.read(job.photograph)
    size = photograph.height, photograph.width
    marks.append(time.perf_counter())
    probability = segmenter.probability(photograph.pixels, size=size)
    marks.append(time.perf_counter())
    found = segmenter.find(probability, size)
    report_row(job, found)
    marks.append(time.perf_counter())
    write_mask(output / "one.png", found.mask)
    marks.append(time.perf_counter())
    return [1000 * (end - start) for start, end in pairwise(marks)]


def run_limit(photographs: Sequence[Path], segmenter: Segmenter, output: Path) -> None:
    """Decode the photographs as the segmenter does, and write a mask for each: nothing else."""

    def work(numbered: tuple[int, Path]) -> None:
        number, path = numbered
        photograph = segmenter.read(path)
        write_mask(output / f"{number}.png", disc(photograph.height, photograph.width))

    for _ in parallel_map(work, enumerate(photographs)):
        pass


@lru_cache(maxsize=4)
def disc(height: int, width: int) -> Mask:
    """Return the mask of a lesion, a disc in the middle, half as high as the picture."""
    canvas = np.zeros((height, width), np.uint8)
    cv2.circle(canvas, (width // 2, height // 2), height // 4, 1, cv2.FILLED)
    return canvas.view(np.bool_)


def time_start(segmenter: Segmenter, photograph: Path) -> float:
    """Return the seconds of `dermseg segment` on one photograph, from its start to its exit."""

    def start() -> None:
        with TemporaryDirectory() as output:
            _python("-m", "dermseg", *_arguments([photograph], segmenter, Path(output)))

    return _median_of(STARTS, start)


def measure_peak(photographs: Sequence[Path], segmenter: Segmenter, output: Path) -> float | None:
    """Return the largest memory of `dermseg segment` on files and folders, in megabytes."""
    said = _python("-c", CHILD, *_arguments(photographs, segmenter, output))
    return float(said) if said.strip() else None


def peak_megabytes() -> float | None:
    """Return the largest memory that this process has had; None where the system does not say.

    Not getrusage's: on Linux a new process inherits that of the one that started it.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    lines = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
    return next((int(line[1]) * 1024 / 1e6 for line in lines if line[0] == "VmHWM:"), None)


def _arguments(photographs: Sequence[Path], segmenter: Segmenter, output: Path) -> list[str]:
    options = ["-o", str(output), "--model", segmenter.name, "--device", segmenter.device]
    return ["segment", *map(str, photographs), *options]


def _python(*arguments: str) -> str:
    """Run Python, and return what it prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DermsegError(f"{' '.join(command[:4])} failed: {done.stderr}")
    return done.stdout


def _median_of(times: int, work: Callable[[], object]) -> float:
    return median(_seconds(work) for _ in range(times))


def _seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
