#!/usr/bin/env python
"""Send malformed uploads to the service: each answer must be a mask or a problem document.

scripts/fuzz_service.py [COUNT] [FIRST_SEED]

Truncated and damaged images, damaged forms, bombs, wrong types and fuzzed headers, against a server
on loopback that must still answer right at the end.
"""

import collections
import random
import subprocess
import sys
import threading

import h11
import httpx2 as httpx
from hostile import bad_files, encoded, mutated, picture

FORMS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
TYPES = ("image/jpeg", "text/html", "multipart/form-data", "a" * 5000, "image/png; q=x", "")
HEADERS = ("host", "accept", "origin", "content-type", "content-length", "transfer-encoding")


def fuzzed(seed: int) -> tuple[bytes, dict[str, str]]:
    """Return a body and headers with some damage in at least one."""
    chance = random.Random(seed)
    originals = [(form, encoded(picture(), form)) for form in FORMS]
    headers = {"content-type": "image/jpeg"}
    match chance.randrange(4):
        case 0:
            body = chance.choice(list(bad_files().values()))
        case 1:
            body = mutated(seed, originals)[1]
        case 2:
            files = {"photograph": originals[0][1]}
            request = httpx.Request("POST", "http://localhost", files=files)
            body = mutated(seed, [("", request.read())])[1]
            headers["content-type"] = request.headers["content-type"]
        case _:
            body, headers["content-type"] = originals[0][1], chance.choice(TYPES)
            name = chance.choice(HEADERS)
            headers[name] = "".join(chance.choices('abc/;,=*%"[]:0129 \t', k=chance.randrange(40)))
    return body, headers


def address_of(server: subprocess.Popen[str]) -> str:
    """Return the address that a service says; what it says later is read, or it would wait."""
    assert server.stderr is not None
    address = next(w for line in server.stderr for w in line.split() if w.startswith("http"))
    threading.Thread(target=server.stderr.read, daemon=True).start()
    return address


def main(count: int = 2000, first: int = 0) -> int:
    """Send them all; return 1 if an answer was neither a mask nor a problem of the client's."""
    command = [sys.executable, "-m", "dermseg", "serve", "--port", "0", "--seconds", "3"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    answers: collections.Counter[str] = collections.Counter()
    strange = 0
    try:
        address = address_of(server)
        with httpx.Client(base_url=address, timeout=60) as client:
            good = encoded(picture(), "JPEG")
            right = client.post("/v1/segment", content=good).content
            for seed in range(first, first + count):
                body, headers = fuzzed(seed)
                try:
                    answer = client.post("/v1/segment", content=body, headers=headers)
                except (httpx.HTTPError, h11.LocalProtocolError) as error:  # no client sends these
                    answers[f"not sent: {type(error).__name__}"] += 1
                    continue
                kind = answer.headers.get("content-type")
                answers[f"{answer.status_code} {kind}"] += 1
                refused = 400 <= answer.status_code < 500 and kind == "application/problem+json"
                if answer.status_code != 200 and not refused:
                    strange += 1
                    print(f"seed {seed}: {answer.status_code} {kind}", headers)
            if client.post("/v1/segment", content=good).content != right:
                strange += 1
                print("the service answers wrongly at the end")
    finally:
        server.terminate()
        server.wait()
    for what, times in answers.most_common():
        print(f"{times:6} {what}")
    return 1 if strange else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
