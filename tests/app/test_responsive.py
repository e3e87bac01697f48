"""The server answers others while it computes a click."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from monailabel.client import MONAILabelClient
from server import Server

pytestmark = pytest.mark.server


def test_info_is_answered_while_a_click_is_computed(client: MONAILabelClient, server: Server) -> None:
    points = [[10 + 2 * (n % 30), 10 + 2 * (n // 30), 0] for n in range(90)]  # a network pass each
    params = {"foreground": points, "background": [], "result_extension": ".nrrd"}
    answered = 0
    with ThreadPoolExecutor(1) as pool:
        click = pool.submit(client.infer, "activefreq", "good_colour", params)
        while not click.done():
            assert requests.get(f"{server.url}/info/", timeout=120).ok
            answered += 1
        click.result()
    # A server that blocks answers once, in the gap before the click arrives, and once when it is done.
    assert answered > 3
