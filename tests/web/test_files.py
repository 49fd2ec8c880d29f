"""The page's own archive: its names and its table, run in Node where that is installed."""

import json
import shutil
import subprocess
from importlib.resources import files

import pytest

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node")
SCRIPT = """
import { stemOf, table } from "SOURCE";
const [names, rows] = JSON.parse(process.argv[1]);
console.log(JSON.stringify([names.map(stemOf), table(["name"], rows)]));
"""


def run(names: list[str], rows: list[dict[str, str]]) -> tuple[list[str], str]:
    assert NODE
    source = files("dermseg.web").joinpath("static", "files.js").read_text(encoding="utf-8")  # type: ignore[call-arg]
    url = "data:text/javascript," + __import__("urllib.parse").parse.quote(source)
    command = [NODE, "--input-type=module", "-e", SCRIPT.replace("SOURCE", url)]
    done = subprocess.run(
        [*command, json.dumps([names, rows])], capture_output=True, check=True, text=True
    )
    stems, text = json.loads(done.stdout)
    return stems, text


def test_no_name_in_the_archive_leads_out_of_a_folder() -> None:
    names = [
        "..\\..\\evil.jpg",
        "../../evil.jpg",
        "C:evil.jpg",
        "a:stream.png",
        "/etc/x.jpg",
        ".jpg",
    ]
    stems, _ = run(names, [])
    assert stems == [".._.._evil", ".._.._evil", "C_evil", "a_stream", "_etc_x", "photograph"]
    assert run(["lésion.1.jpg", "a b (2).png"], [])[0] == ["lésion.1", "a b (2)"]
    assert run(["1.2.840.498.1", "1.2.3.dcm", "a"], [])[0] == ["1.2.840.498.1", "1.2.3", "a"]


def test_no_cell_of_its_table_is_a_formula() -> None:
    _, text = run([], [{"name": "=1+1"}, {"name": "a;-b"}, {"name": "a,b"}, {"name": "c=d"}])
    assert text == "name\n'=1+1\na;'-b\n\"a,b\"\nc=d\n"
