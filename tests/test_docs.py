"""The commands that the documentation shows are commands that the scripts take, and its links lead somewhere."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "apps/activefreq/model/README.md"]


def shown_commands(page):
    """Every command line in a page's code blocks that names a Python script."""
    blocks = re.findall(r"^```(?:bash|console|sh)?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if re.search(r"\bscripts/\w+\.py\b", line)]


def load_script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS = sorted({command for page in PAGES for command in shown_commands(page)})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shown_command_is_one_that_its_script_takes(command):
    words = shlex.split(command, comments=True)
    at = next(index for index, word in enumerate(words) if re.fullmatch(r"scripts/\w+\.py", word))
    load_script(ROOT / words[at]).parser().parse_args(words[at + 1 :])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / link).exists(), link


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_headings_lead_to_one(page):
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*\.md|)#([^)]+)\)", page.read_text()):
        assert anchor in anchors((page.parent / link) if link else page), f"{link}#{anchor}"


def test_every_script_says_what_it_takes():
    for path in sorted((ROOT / "scripts").glob("*.py")):
        assert load_script(path).parser().format_help().startswith("usage:"), path


def test_every_page_is_reached_from_the_readme():
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\((?!https?:)([^)#]+\.md)[^)]*\)", page.read_text())
        ahead += [(page.parent / link).resolve() for link in links]
    assert set(PAGES) <= seen
