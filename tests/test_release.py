import re
import tomllib

from release import (
    ACTION,
    COMMIT,
    CONTAINER,
    LOCK,
    PACKAGE,
    README,
    RECIPE,
    ROOT,
    WORKFLOWS,
    missing,
    with_absolute_links,
    with_links,
    with_owner,
    with_pinned_actions,
    with_pinned_image,
    with_sdist,
)

from dermseg import __version__

COMMITTED = "0123456789" * 4
OTHER = "9876543210" * 4
HASH = "sha256:" + "ab" * 32
ADDRESS = "https://example.org/dermseg"


def test_links_are_written_once() -> None:
    package = PACKAGE.read_text(encoding="utf-8")
    once = with_links(package, ADDRESS)
    assert with_links(once, ADDRESS) == once
    read = tomllib.loads(once)
    urls = read["project"].pop("urls")
    assert urls["Issues"] == f"{ADDRESS}/issues"
    before = tomllib.loads(package)
    before["project"].pop("urls", None)
    assert read == before


def test_the_readme_has_pictures_on_pypi_too() -> None:
    readme = README.read_text(encoding="utf-8")
    once = with_absolute_links(readme, ADDRESS)
    assert f"]({ADDRESS}/raw/main/docs/examples.jpg)" in once
    assert f"[Start]({ADDRESS}/blob/main/docs/start.md)" in once
    assert not re.findall(r"\]\((?!https://)", once)
    assert with_absolute_links(once, "elsewhere") == once


def test_every_action_is_pinned_to_the_commit_of_its_tag() -> None:
    for workflow in WORKFLOWS:
        text = workflow.read_text(encoding="utf-8")
        asked = []

        def digest_of(name: str, tag: str, asked: list[tuple[str, str]] = asked) -> str:
            asked.append((name, tag))
            return COMMITTED

        once = with_pinned_actions(text, digest_of)
        assert len(asked) == text.count("uses: ")
        assert all(COMMIT.fullmatch(found["version"]) for found in ACTION.finditer(once))
        again = with_pinned_actions(once, lambda _, __: OTHER)
        assert again == once.replace(COMMITTED, OTHER)


def test_the_image_is_pinned_and_pinned_again() -> None:
    text = CONTAINER.read_text(encoding="utf-8")
    once = with_pinned_image(text, lambda _, __: HASH)
    assert once.count(HASH) == text.count("FROM docker.io/") > 0
    assert with_pinned_image(once, lambda _, __: HASH) == once


def test_the_recipe_gets_version_and_digest() -> None:
    text = with_sdist(RECIPE.read_text(encoding="utf-8"), "1.2.3", "ab" * 32)
    assert 'version: "1.2.3"' in text
    assert f"sha256: {'ab' * 32}" in text


def test_the_recipe_gets_address_and_maintainer() -> None:
    text = with_owner(RECIPE.read_text(encoding="utf-8"), "https://example.org/somebody/dermseg")
    assert "  homepage: https://example.org/somebody/dermseg\n" in text
    assert "  recipe-maintainers:\n    - somebody\n" in text


def test_the_recipe_asks_for_what_the_package_asks_for() -> None:
    package = tomllib.loads(PACKAGE.read_text(encoding="utf-8"))["project"]
    in_conda = {"opencv-python-headless": "opencv", "zlib-ng": "python-zlib-ng"}
    needs = (need.partition(">=") for need in package["dependencies"])
    wanted = {in_conda.get(name, name) + sign + least for name, sign, least in needs}
    recipe = RECIPE.read_text(encoding="utf-8").split("  run:")[1].split("tests:")[0]
    listed = {need.replace(" ", "") for need in re.findall(r"- (\S+ >=\S+)", recipe)}
    assert listed - {"python>=${{"} == wanted
    oldest = re.search(r'python_min: "(\S+)"', RECIPE.read_text(encoding="utf-8"))
    assert oldest is not None
    assert package["requires-python"] == f">={oldest[1]}"


def test_what_is_missing_is_named() -> None:
    assert missing("v0.0.0")[0] == f"the tag is v0.0.0, the version {__version__}"


def test_what_workflows_run_is_there() -> None:
    for workflow in WORKFLOWS:
        for script in re.findall(r"run: (scripts/\S+)", workflow.read_text(encoding="utf-8")):
            assert (ROOT / script).is_file()


def test_the_container_installs_what_the_service_asks_for() -> None:
    package = tomllib.loads(PACKAGE.read_text(encoding="utf-8"))
    needs = package["project"]["dependencies"]
    needs += package["project"]["optional-dependencies"]["web"]
    needs += package["build-system"]["requires"]
    locked = LOCK.read_text(encoding="utf-8")
    names = set(re.findall(r"(?m)^([\w.-]+)==\S+", locked))
    assert {re.split(r"[<>=!;\[ ]", need)[0] for need in needs} <= names
    entries = re.findall(r"(?m)^[\w.-]+==(?:.*\\\n)+.*", locked)
    assert len(entries) == len(names)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "http" not in locked.replace("httptools", "")
