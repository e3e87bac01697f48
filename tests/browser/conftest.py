"""A DICOMweb server, the app on it, and a browser: all of them real, on this machine alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from dicomweb import Studies, orthanc_program, running_orthanc, store_samples
from playwright.sync_api import Browser, Page, sync_playwright
from server import Server, running_server
from viewer import Viewer

from activefreq import InteractiveSegmenter

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 120_000
"""Milliseconds to wait for what the viewer is to show, on a machine that may do other work besides."""


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is on PATH")
    return found


@pytest.fixture(scope="session")
def studies(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studies]:
    orthanc = orthanc_program()
    if orthanc is None:
        pytest.skip("there is no DICOMweb server: the packages orthanc and orthanc-dicomweb are not installed")
    with running_orthanc(orthanc, tmp_path_factory.mktemp("orthanc")) as url:
        yield store_samples(url)


@pytest.fixture(scope="session")
def server(studies: Studies, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(
        studies.url,
        folder,
        conf={"checkpoint": str(tiny_checkpoint), "device": "cpu"},
        environment={
            "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "downloads"),
            # As many threads as here, so that sums of floats are the same.
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        },
    ) as running:
        yield running


@pytest.fixture(scope="session")
def segmenter(tiny_checkpoint: Path) -> InteractiveSegmenter:
    """The session in this process to which the viewer's masks are compared."""
    return InteractiveSegmenter.from_pretrained(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Ends with its module: while Playwright lives, its event loop runs in this thread, and no test can run another."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new page that reaches nothing but this machine; an error in its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 850})
    context.set_default_timeout(PATIENCE)
    context.route(lambda url: not url.startswith(("http://127.0.0.1:", "blob:", "data:")), lambda route: route.abort())
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def viewer(page: Page, server: Server) -> Viewer:
    return Viewer(page, server.url)
