#!/usr/bin/env python
"""Fill in what only a release knows, or check that nothing is missing.

    scripts/release.py --lock
    scripts/release.py https://github.com/OWNER/dermseg
    scripts/release.py --sdist dist/dermseg-0.2.0.tar.gz
    scripts/release.py --check v0.2.0

With --lock: the versions and hashes that the container installs, by uv. With the repository's
address: writes the links of the package and of the conda recipe, whose maintainer is the owner,
makes the README's links absolute, which PyPI shows too, and pins each action of the workflows and
the container's image by digest, as GitHub and the image's registry give them now. With the sdist:
its digest in the conda recipe. With --check: exit status 1 if the tag is not the version, or if
anything is not filled in.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

from dermseg import __version__

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pyproject.toml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONTAINER = ROOT / "deploy" / "Containerfile"
LOCK = ROOT / "deploy" / "requirements.txt"
PYTHON = "3.12"
"""The container's."""
RECIPE = ROOT / "deploy" / "conda" / "recipe.yaml"
CHANGELOG = ROOT / "CHANGELOG.md"
README = ROOT / "README.md"

ACTION = re.compile(r"uses: (?P<name>[\w.-]+/[\w.-]+)@(?P<version>\S+)(?: # (?P<tag>\S+))?")
IMAGE = re.compile(
    r"FROM docker\.io/(?P<name>[\w./-]+):(?P<tag>[\w.-]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
RELATIVE = re.compile(r"(?P<mark>!?)(?P<text>\[[^\]]*\])\((?!https?:)(?P<path>[^)]+)\)")
COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"(sha256: )(\S+)")
HOMEPAGE = re.compile(r"(homepage: )(\S+)")
MAINTAINER = re.compile(r"(recipe-maintainers:\n    - )(\S+)")
DigestOf = Callable[[str, str], str]
"""From a name and a tag to what the tag stands for now."""


def with_links(text: str, address: str) -> str:
    """Return pyproject.toml with the package's links."""
    links = {
        "Source": address,
        "Issues": f"{address}/issues",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
    }
    table = "\n".join(["[project.urls]", *(f'{name} = "{link}"' for name, link in links.items())])
    bare = re.sub(r"\[project\.urls\]\n(?:\w+ = .*\n)*\n", "", text)
    return bare.replace("[project.scripts]", f"{table}\n\n[project.scripts]")


def with_absolute_links(text: str, address: str) -> str:
    """Return the README with pictures and links that lead into the repository from anywhere."""

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found["mark"] else "blob"
        return f"{found['mark']}{found['text']}({address}/{kind}/main/{found['path']})"

    return RELATIVE.sub(absolute, text)


def with_pinned_actions(text: str, digest_of: DigestOf) -> str:
    """Return a workflow whose actions are pinned to the commits of their tags."""

    def pinned(found: re.Match[str]) -> str:
        tag = found["tag"] or found["version"]
        return f"uses: {found['name']}@{digest_of(found['name'], tag)} # {tag}"

    return ACTION.sub(pinned, text)


def with_pinned_image(text: str, digest_of: DigestOf) -> str:
    """Return a container recipe whose image is pinned to the digest of its tag."""

    def pinned(found: re.Match[str]) -> str:
        name, tag = found["name"], found["tag"]
        return f"FROM docker.io/{name}:{tag}@{digest_of(name, tag)}"

    return IMAGE.sub(pinned, text)


def with_owner(text: str, address: str) -> str:
    """Return the conda recipe with the repository's address, and its owner as the maintainer."""
    text = HOMEPAGE.sub(rf"\g<1>{address}", text)
    return MAINTAINER.sub(rf"\g<1>{address.split('/')[-2]}", text)


def with_sdist(text: str, version: str, digest: str) -> str:
    """Return the conda recipe of an sdist."""
    text = re.sub(r'version: "[^"]*"', f'version: "{version}"', text, count=1)
    return DIGEST.sub(rf"\g<1>{digest}", text)


def lock() -> None:
    """Write the newest versions, with hashes, of what the service and its building ask for."""
    options = ["--extra", "web", "--generate-hashes", "--no-emit-index-url", "--no-annotate"]
    target = ["--python-version", PYTHON, "--python-platform", "linux"]
    command = ["uv", "pip", "compile", "--quiet", *options, *target, "--output-file", str(LOCK)]
    header = ["--custom-compile-command", "scripts/release.py --lock"]
    package = tomllib.loads(PACKAGE.read_text(encoding="utf-8"))
    builders = "\n".join(package["build-system"]["requires"])
    LOCK.unlink(missing_ok=True)  # else the versions in it would stay
    subprocess.run([*command, *header, str(PACKAGE), "-"], input=builders, text=True, check=True)


def commit_of(name: str, tag: str) -> str:
    """Return the commit of an action's tag or branch, from GitHub."""
    listing = subprocess.run(
        ["git", "ls-remote", f"https://github.com/{name}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    commits = {ref: commit for commit, ref in (line.split("\t") for line in listing.splitlines())}
    for ref in (f"refs/tags/{tag}^{{}}", f"refs/tags/{tag}", f"refs/heads/{tag}"):
        if ref in commits:
            return commits[ref]
    raise SystemExit(f"{name} has no tag or branch {tag}")


def image_digest(name: str, tag: str) -> str:
    """Return the digest of an image's tag, from Docker Hub."""
    asked = f"https://auth.docker.io/token?service=registry.docker.io&scope=repository:{name}:pull"
    with urlopen(asked) as answer:
        token = json.load(answer)["token"]
    request = Request(
        f"https://registry-1.docker.io/v2/{name}/manifests/{tag}",
        method="HEAD",
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.oci.image.index.v1+json",
        },
    )
    with urlopen(request) as answer:
        return str(answer.headers["Docker-Content-Digest"])


def missing(tag: str) -> list[str]:
    """Return what keeps this tree from being released under `tag`."""
    faults = []
    if tag != f"v{__version__}":
        faults.append(f"the tag is {tag}, the version {__version__}")
    if f"\n## {__version__}" not in CHANGELOG.read_text(encoding="utf-8"):
        faults.append(f"CHANGELOG.md has no heading {__version__}")
    if "[project.urls]" not in PACKAGE.read_text(encoding="utf-8"):
        faults.append("pyproject.toml has no links")
    for workflow in WORKFLOWS:
        for found in ACTION.finditer(workflow.read_text(encoding="utf-8")):
            if not COMMIT.fullmatch(found["version"]):
                faults.append(f"{workflow.name}: {found['name']}@{found['version']} is no commit")
    for found in IMAGE.finditer(CONTAINER.read_text(encoding="utf-8")):
        if not found["digest"]:
            faults.append(f"{CONTAINER.name}: {found['name']}:{found['tag']} has no digest")
    return faults


def _rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


def main() -> int:
    """Fill in, or check; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address", nargs="?", help="the repository's, such as https://github.com/…")
    parser.add_argument("--lock", action="store_true", help="resolve what the container installs")
    parser.add_argument("--sdist", type=Path, help="the sdist that was published")
    parser.add_argument("--check", metavar="TAG", help="the tag to release under")
    given = parser.parse_args()
    if given.check:
        faults = missing(given.check)
        print("\n".join(faults) or f"{given.check} can be released")
        return 1 if faults else 0
    if not (given.address or given.sdist or given.lock):
        parser.error("give the repository's address, --lock, --sdist or --check")
    if given.lock:
        lock()
    if given.address:
        address = given.address.rstrip("/")
        _rewrite(PACKAGE, lambda text: with_links(text, address))
        _rewrite(RECIPE, lambda text: with_owner(text, address))
        _rewrite(README, lambda text: with_absolute_links(text, address))
        for workflow in WORKFLOWS:
            _rewrite(workflow, lambda text: with_pinned_actions(text, commit_of))
        _rewrite(CONTAINER, lambda text: with_pinned_image(text, image_digest))
    if given.sdist:
        digest = sha256(given.sdist.read_bytes()).hexdigest()
        _rewrite(RECIPE, lambda text: with_sdist(text, __version__, digest))
    return 0


if __name__ == "__main__":
    sys.exit(main())
