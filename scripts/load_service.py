#!/usr/bin/env python
"""Load the service on loopback: beside the batch pipeline, at several numbers of clients.

scripts/load_service.py PHOTOGRAPHS [--requests 300] [--clients 1,8,64] [--json FILE]
scripts/load_service.py PHOTOGRAPHS --hostile 500 [--half-open 200] [--json FILE]

Prints photographs a second, the 95th percentile of the time to a mask, how often a client was told
to come back (429), answers lost or wrong, and the server's memory before and after; first the same
photographs through `segment_all` in a process of its own.

With --hostile: a sixth of so many requests is good, the others are damaged, huge, or keep a decoder
busy, while clients stay connected with half a head. Prints how long health checks and good requests
take, what came of the hostile ones, and the server's largest memory.
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h11
import httpx2 as httpx
import numpy as np
from fuzz_service import address_of, fuzzed
from hostile import busy_files

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
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
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


def percentile(seconds: list[float], percent: int = 95) -> float:
    """Return a percentile of some times, to the millisecond."""
    return round(float(np.percentile(seconds, percent)), 3)


def attack(
    address: str, server: int, good: tuple[bytes, bytes], requests: int, half_open: int
) -> dict[str, Any]:
    """Send hostile and good requests together, with half-open connections; return the figures."""
    busy, place = list(busy_files().values()), urlsplit(address)
    damaged = [fuzzed(number) for number in range(requests)]
    answers: Counter[str] = Counter()
    seconds: list[float] = []
    health: list[float] = []
    memories: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            began = time.perf_counter()
            fresh = HTTPConnection(place.netloc, timeout=60)  # a connection of its own each time
            fresh.request("GET", "/healthz")
            assert fresh.getresponse().read() == b'{"status":"alive"}'
            fresh.close()
            health.append(time.perf_counter() - began)
            memories.append(memory(server))

    def one(number: int) -> None:
        if number % 6 == 0:
            began, status = time.perf_counter(), 429
            while status == 429:
                answer = client.post("/v1/segment", content=good[0], headers=HEADERS)
                status = answer.status_code
                time.sleep(0.1 if status == 429 else 0)
            seconds.append(time.perf_counter() - began)
            answers["good, right" if answer.content == good[1] else "good, WRONG"] += 1
            return
        body, headers = damaged[number]
        if number % 6 == 1:
            body, headers = busy[number // 6 % len(busy)], {"content-type": "image/jpeg"}
        try:
            answers[str(client.post("/v1/segment", content=body, headers=headers).status_code)] += 1
        except (httpx.HTTPError, h11.LocalProtocolError):  # no client sends these
            answers["not sent"] += 1

    with ExitStack() as stack:
        for _ in range(half_open):
            connection = socket.create_connection((place.hostname, place.port))
            stack.enter_context(connection).sendall(b"GET / HTTP/1.1\r\nHost: 127")
        client = stack.enter_context(httpx.Client(base_url=address, timeout=60))
        watcher = threading.Thread(target=watch)
        watcher.start()
        ended.wait(5)  # health checks alone
        quiet = list(health)
        try:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(one, random.Random(0).sample(range(requests), requests)))
        finally:
            ended.set()
            watcher.join()
    return {
        "requests": requests,
        "half_open": half_open,
        "answers": dict(answers),
        "good_p95_seconds": percentile(seconds),
        "health_p95_seconds_before": percentile(quiet),
        "health_p95_seconds": percentile(health[len(quiet) :]),
        "health_longest_seconds": percentile(health, 100),
        "megabytes_at_most": round(max(memories)),
    }


def main() -> None:
    """Time the batch pipeline, then the service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--hostile", type=int, default=0)
    parser.add_argument("--half-open", type=int, default=200)
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
        address = address_of(server)
        load(address, photographs, len(photographs), 1)
        result["megabytes_before"] = round(memory(server.pid))
        for clients in map(int, options.clients.split(",") if not options.hostile else ()):
            result["loads"].append(load(address, photographs, options.requests, clients))
        if options.hostile:
            result["attack"] = attack(
                address, server.pid, photographs[0], options.hostile, options.half_open
            )
        result["megabytes_after"] = round(memory(server.pid))
    finally:
        server.terminate()
        server.wait()
    print(json.dumps(result, indent=1))
    if options.json is not None:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
