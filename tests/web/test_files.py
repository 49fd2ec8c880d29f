"""The page's own archive, and the folders dropped on it, run in Node where that is installed."""

import json
import shutil
import subprocess
from importlib.resources import files
from typing import Any

import pytest

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node")
SCRIPT = """
import { stemOf, table } from "SOURCE";
const [names, rows] = JSON.parse(process.argv[1]);
console.log(JSON.stringify([names.map(stemOf), table(["name"], rows)]));
"""
DROP = """
import { droppedFiles } from "SOURCE";
const entryOf = ([name, content]) => {
  if (typeof content === "string") {
    return { name, file: (done) => done(Object.assign(new Blob([content]), { name })) };
  }
  const some = [Object.entries(content).map(entryOf), []];
  const reader = { readEntries: (done) => done(some.shift()) };
  return { name, isDirectory: true, createReader: () => reader };
};
const entries = Object.entries(JSON.parse(process.argv[1])).map(entryOf);
const items = entries.map((entry) => ({ webkitGetAsEntry: () => entry }));
const files = await droppedFiles({ items });
console.log(JSON.stringify(files.map((file) => file.name)));
"""


def answer(script: str, question: object) -> Any:
    assert NODE
    source = files("dermseg.web").joinpath("static", "files.js").read_text(encoding="utf-8")  # type: ignore[call-arg]
    url = "data:text/javascript," + __import__("urllib.parse").parse.quote(source)
    command = [NODE, "--input-type=module", "-e", script.replace("SOURCE", url)]
    done = subprocess.run(
        [*command, json.dumps(question)], capture_output=True, check=True, text=True
    )
    return json.loads(done.stdout)


def run(names: list[str], rows: list[dict[str, str]]) -> tuple[list[str], str]:
    stems, text = answer(SCRIPT, [names, rows])
    return stems, text


@needs_node
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


@needs_node
def test_no_cell_of_its_table_is_a_formula() -> None:
    _, text = run([], [{"name": "=1+1"}, {"name": "a;-b"}, {"name": "a,b"}, {"name": "c=d"}])
    assert text == "name\n'=1+1\na;'-b\n\"a,b\"\nc=d\n"


@needs_node
def test_dicom_files_without_a_suffix_are_found_in_a_folder() -> None:
    dicom = " " * 128 + "DICM"
    study = {
        "1.2.840.1": dicom,
        "IM0001": dicom,
        "b.jpg": "",
        "c.dcm": "",
        "DICOMDIR": dicom,
        "README": "",
        "log.1": "",
        "notes.txt": dicom,
        ".hidden": dicom,
        "series": {"1.2.840.2": dicom},
        "@eaDir": {"1.2.840.3": dicom},
    }
    found = ["1.2.840.1", "IM0001", "b.jpg", "c.dcm", "1.2.840.2"]
    assert answer(DROP, {"study": study, "notes.txt": ""}) == [*found, "notes.txt"]


def test_files_without_a_suffix_can_be_chosen() -> None:
    page = files("dermseg.web").joinpath("static", "index.html").read_text(encoding="utf-8")
    chooser = next(line for line in page.splitlines() if 'id="files"' in line)
    assert "accept" not in chooser  # a dialog would show them grey
