"""OHIF's MONAI Label mode as a person uses it: buttons, the mouse, and what the viewer shows."""

from __future__ import annotations

import base64

import numpy as np
from playwright.sync_api import Page, Response

_READY = """() => {
  const viewports = window.services?.cornerstoneViewportService?.getRenderingEngine()?.getViewports() ?? [];
  return viewports.length === 3 && viewports.every(viewport => viewport.getActors().length > 0);
}"""

_SHOW_VOXEL = """([viewportId, index]) => {
  const viewport = window.services.cornerstoneViewportService.getRenderingEngine().getViewport(viewportId);
  const image = viewport.getImageData().imageData;
  const world = image.indexToWorld(index);
  viewport.jumpToWorld(world);
  viewport.render();
  const [x, y] = viewport.worldToCanvas(world);
  const box = viewport.canvas.getBoundingClientRect();
  return [box.left + x, box.top + y];
}"""

_POINTS = """() => window.cornerstoneTools.annotation.state.getAnnotationManager().getAllAnnotations()
  .filter(annotation => annotation.metadata.toolName === 'ProbeMONAILabel').length"""

_PLANE = """viewportId => {
  const viewport = window.services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
  return [viewport.getCamera().viewPlaneNormal, Array.from(viewport.getImageData().imageData.getDirection()).slice(6)];
}"""

_LABEL_MAP = """() => {
  const volume = window.services.segmentationService.getLabelmapVolume('1');
  const values = new Uint8Array(volume.voxelManager.getCompleteScalarDataArray());
  let text = '';
  for (let i = 0; i < values.length; i += 8192) text += String.fromCharCode(...values.subarray(i, i + 8192));
  return { dimensions: volume.dimensions, values: btoa(text) };
}"""


class Viewer:
    """One browser page with the viewer in it.

    Args:
        page: Of Playwright.
        server: Address of the MONAI Label server, without a slash at its end.
    """

    def __init__(self, page: Page, server: str) -> None:
        self.page = page
        self._server = server

    def open(self, study: str) -> None:
        """Opens a study and waits until all three planes show it."""
        self.page.goto(f"{self._server}/ohif/monai-label?StudyInstanceUIDs={study}")
        self.wait_until_shown()

    def wait_until_shown(self) -> None:
        self.page.wait_for_selector(".monaiLabelPanel")
        self.page.wait_for_function(_READY)
        hide = self.page.get_by_role("button", name="Confirm and Hide")
        if hide.is_visible():
            hide.click()

    def connect(self) -> None:
        """Presses the panel's connect button and waits for the label map that it makes."""
        self.page.click(".monaiLabelPanel .settingsTable button")
        self.page.wait_for_selector("text=Point Prompts")
        self.page.wait_for_function("() => !!window.services.segmentationService.getLabelmapVolume('1')")

    def open_tab(self, name: str) -> None:
        self.page.locator(".monaiLabelPanel label.tab-label", has_text=name).click()

    def choose_structure(self, name: str) -> None:
        """Chooses the structure, or "background", for which the next clicks are."""
        self.page.locator(".tab-content:visible tr.clickable-row", has_text=name).click()

    def click_voxel(self, i: int, j: int, k: int, *, viewport: str = "mpr-axial") -> None:
        """Scrolls a plane to a voxel, clicks on its centre, and waits until the viewer has drawn the point."""
        points = self.page.evaluate(_POINTS)
        x, y = self.page.evaluate(_SHOW_VOXEL, [viewport, [i, j, k]])
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.up()
        # The viewer holds a click back until it knows that it is no double click.
        self.page.wait_for_function(f"count => ({_POINTS})() > count", arg=points)

    def run(self, task: str = "PointPrompts") -> Response:
        """Presses a tab's Run button; returns the server's answer when the viewer has shown it."""
        with (
            self.page.expect_console_message(lambda message: "updated the segmentation" in message.text),
            self.page.expect_response(lambda response: "/infer/" in response.url) as answer,
        ):
            self.page.click(f"button[title='Run {task}']")
        return answer.value

    def label_map(self) -> np.ndarray:
        """(K, J, I) uint8: the segmentation that is shown."""
        shown = self.page.evaluate(_LABEL_MAP)
        values = np.frombuffer(base64.b64decode(shown["values"]), np.uint8)
        return values.reshape(shown["dimensions"][::-1])

    def submit(self) -> str:
        """Presses the button that saves the mask; returns "saved", or "failed: " and the reason."""
        button = self.page.locator("#activefreq-submit")
        button.click()
        self.page.wait_for_selector("#activefreq-submit[data-outcome]:not([disabled])")
        return str(button.get_attribute("data-outcome"))

    def plane(self, viewport: str) -> tuple[np.ndarray, np.ndarray]:
        """The normal of a viewport's plane, and the direction in which the slices of the series follow one another."""
        normal, through = self.page.evaluate(_PLANE, viewport)
        return np.array(normal), np.array(through)

    def next_sample(self, strategy: str | None) -> dict[str, str]:
        """Asks for the next sample, by the strategy that is set at first or by another; returns the offered image."""
        self.open_tab("Active Learning")
        if strategy is not None:
            self.page.locator(".monaiLabelPanel select.actionInput:visible").select_option(strategy)
        with self.page.expect_response(lambda response: "/activelearning/" in response.url) as answer:
            self.page.get_by_role("button", name="Next Sample").click()
        self.page.wait_for_selector(".nextSampleForm")
        assert answer.value.url.rpartition("/")[2] == (strategy or "random")
        # By this the server tells one person's images from another's.
        assert "activefreq_client=browser-" in answer.value.request.all_headers().get("cookie", "")
        offered: dict[str, str] = answer.value.json()
        return offered

    def open_offered(self) -> None:
        """Agrees to the offered image, and waits until it is shown."""
        self.page.once("dialog", lambda dialog: dialog.accept())
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="OK", exact=True).click()
        self.wait_until_shown()

    def press_training(self, button: str) -> Response:
        """Presses "Update Model" or "Stop Training"; returns the server's answer."""
        with self.page.expect_response(lambda response: "/train/" in response.url) as answer:
            self.page.get_by_role("button", name=button).click()
        return answer.value
