"""Segmenting on a real cluster of this machine; needs the extra `cluster`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hostile import encoded, picture, write_all
from kill_nodes import compare, contents, kill_node, segment, two_nodes

from dermseg.storage.stores import open_store

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL"),
    pytest.mark.filterwarnings("ignore"),  # what Ray itself warns of
]
COUNT = 40


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    files = {f"{number:02}.jpg": picture(300 + 4 * number, 400) for number in range(COUNT)}
    write_all({name: encoded(image, "JPEG") for name, image in files.items()}, folder / "in")
    return folder / "in"


@pytest.fixture(scope="module")
def calm(photographs: Path) -> Path:
    """Return what one process makes of the photographs."""
    output = photographs.parent / "calm"
    subprocess.run(segment(photographs, output), check=True)
    return output


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, list[object]]]:
    with two_nodes() as found:
        yield found


def test_a_cluster_makes_the_same_bytes_and_does_nothing_twice(
    tmp_path: Path, photographs: Path, calm: Path, nodes: tuple[str, list[object]]
) -> None:
    for _ in range(2):
        command = segment(photographs, tmp_path / "out", "--cluster", nodes[0], "--chunk", "3")
        subprocess.run(command, check=True)
        assert contents(tmp_path / "out") == contents(calm)
    timings = (tmp_path / "out" / "timings.csv").read_text().splitlines()
    assert timings == ["photograph,milliseconds"]


def test_a_run_that_is_interrupted_goes_on(
    tmp_path: Path, photographs: Path, calm: Path, nodes: tuple[str, list[object]]
) -> None:
    output = tmp_path / "out"
    command = segment(photographs, output, "--cluster", nodes[0], "--chunk", "2")
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while run.poll() is None and len(list(output.glob("*.png"))) < COUNT // 4:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate()
    assert (run.returncode, "Traceback" in said) == (130, False)
    assert "the same command continues" in said
    subprocess.run(segment(photographs, output), check=True)
    assert contents(output) == contents(calm)


def test_a_folder_that_workers_do_not_see_is_told_of(
    tmp_path: Path, photographs: Path, nodes: tuple[str, list[object]]
) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dermseg.batch import on_cluster\n"
        "from dermseg.cli.main import main\n"
        "seen = on_cluster._Build\n"
        "on_cluster._Build = lambda plan, _: seen(plan, Path('/elsewhere/journal.jsonl'))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = segment(photographs, tmp_path / "out", "--cluster", nodes[0])[3:]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "does not see /elsewhere/journal.jsonl; photographs and masks must lie" in done.stderr


@pytest.mark.cloud
def test_from_a_bucket_to_a_bucket(object_store: object, photographs: Path, calm: Path) -> None:
    source, target = open_store("s3://bucket/in"), open_store("s3://bucket/out")
    for path in photographs.iterdir():
        source.write(path.name, path.read_bytes())
    addresses = "s3://bucket/in", "s3://bucket/out"
    subprocess.run(segment(*addresses, "--cluster", "local"), check=True)
    made = {file.name: target.read(file.name) for file in target.files()}
    expected = contents(calm)
    assert {name: made[name] for name in expected} == expected


def test_no_cluster_on_this_machine_is_told_of(tmp_path: Path, photographs: Path) -> None:
    done = subprocess.run(
        segment(photographs, tmp_path / "out", "--cluster", "127.0.0.1:1"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAY_ADDRESS": ""},
    )
    assert done.returncode == 1
    assert "nothing answers there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_is_killed_costs_no_row(
    tmp_path: Path, photographs: Path, calm: Path, nodes: tuple[str, list[object]]
) -> None:
    output = tmp_path / "out"
    command = segment(photographs, output, "--cluster", nodes[0], "--chunk", "5")
    run = subprocess.Popen(command)
    while run.poll() is None and not list(output.glob("*.png")):
        time.sleep(0.01)
    assert run.poll() is None
    kill_node(nodes[1][0])
    assert run.wait() == 0
    assert compare(output, calm, COUNT) == {"lost": 0, "doubled": 0, "equal": True}
