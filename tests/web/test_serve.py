import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from hostile import encoded, picture

from dermseg.cli.main import main
from dermseg.errors import UsageError
from dermseg.settings import ServiceSettings


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_serving_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dermseg", "serve", "--port", "0", "--low", "0.4"]
    command += ["--allowed-hosts", "localhost", "127.0.0.1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stderr is not None
        (address,) = (w for w in server.stderr.readline().split() if w.startswith("http://127"))
        answer = httpx.post(f"{address}v1/segment", content=encoded(picture(), "JPEG"), timeout=20)
        assert answer.json()["thresholds"]["low"] == 0.4
        assert "<title>dermseg</title>" in httpx.get(address).text
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert server.stderr.read() == ""
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_has_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"port {port}: cannot be listened on" in said
    assert "another --port" in said
    assert "Traceback" not in said


def test_review_needs_both_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--review", str(tmp_path)]) == 2
    assert main(["serve", str(tmp_path)]) == 2
    assert "--review" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes", [{"workers": 0}, {"queue": -1}, {"port": 70_000}, {"seconds": 0.0}]
)
def test_bounds_that_cannot_be(changes: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        ServiceSettings(**changes)  # type: ignore[arg-type]


def test_every_model_is_looked_for_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", "lite0", "lite9"]) == 2
    assert "lite9" in capsys.readouterr().err
