#!/usr/bin/env python
"""Load the service on loopback: beside the batch pipeline, at several numbers of clients.

scripts/load_service.py PHOTOGRAPHS [--requests 300] [--clients 1,8,64] [--json FILE]

Prints photographs a second, the 95th percentile of the time to a mask, how often a client was told
to come back (429), answers lost or wrong, and the server's memory before and after; first the same
photographs through `segment_all` in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np

from dermseg.batch.jobs import find_jobs
from dermseg.storage.files import write_json

BATCH = """
import sys, time
from pathlib import Path
from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.inference.segmenter import Segmenter
jobs, segmenter = find_jobs([Path(sys.argv[1])]), Segmenter()
segmenter.segment(jobs[0].photograph)
began = time.perf_counter()
segment_all(jobs, segmenter, Path(sys.argv[2]))
print(len(jobs) / (time.perf_counter() - began))
"""
HEADERS = {"Accept": "image/png", "Content-Type": "application/octet-stream"}


def memory(process: int) -> float:
    """Return a process's resident megabytes."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def load(
    address: str, photographs: list[tuple[bytes, bytes]], requests: int, clients: int
) -> dict[str, Any]:
    """Send `requests` photographs, each again after 429; return what came of them."""
    seconds: list[float] = []
    told, wrong = [0], [0]
    lock = threading.Lock()
    limits = httpx.Limits(max_connections=clients)

    def one(number: int) -> None:
        photograph, mask = photographs[number % len(photographs)]
        began = time.perf_counter()
        while True:
            answer = client.post("/v1/segment", content=photograph, headers=HEADERS)
            if answer.status_code != 429:
                break
            with lock:
                told[0] += 1
            time.sleep(float(answer.headers["Retry-After"]))
        with lock:
            seconds.append(time.perf_counter() - began)
            wrong[0] += answer.content != mask

    began = time.perf_counter()
    with (
        httpx.Client(base_url=address, timeout=120, limits=limits) as client,
        ThreadPoolExecutor(clients) as pool,
    ):
        list(pool.map(one, range(requests)))
    return {
        "clients": clients,
        "photographs_per_second": round(requests / (time.perf_counter() - began), 2),
        "p95_seconds": round(float(np.percentile(seconds, 95)), 3),
        "told_to_come_back": told[0],
        "lost": requests - len(seconds),
        "wrong": wrong[0],
    }


def main() -> None:
    """Time the batch pipeline, then the service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", BATCH, str(options.photographs), folder]
        batch = float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        photographs = [
            (job.photograph.read_bytes(), (Path(folder) / job.mask).read_bytes())
            for job in find_jobs([options.photographs])
        ]
    result: dict[str, Any] = {"batch_photographs_per_second": round(batch, 2), "loads": []}
    command = [sys.executable, "-m", "dermseg", "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = next(w for line in server.stderr for w in line.split() if w.startswith("http"))
        load(address, photographs, len(photographs), 1)
        result["megabytes_before"] = round(memory(server.pid))
        for clients in map(int, options.clients.split(",")):
            result["loads"].append(load(address, photographs, options.requests, clients))
        result["megabytes_after"] = round(memory(server.pid))
    finally:
        server.terminate()
        server.wait()
    print(json.dumps(result, indent=1))
    if options.json is not None:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
