"""What the README shows runs."""

import re
from pathlib import Path

import numpy as np

from activefreq.data.sample_studies import dermoscopy_like

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    photograph = dermoscopy_like()
    names = {"image": photograph.image, "mask": photograph.mask}
    exec(example, names)
    assert names["result"].mask.shape == photograph.mask.shape
    assert names["result"].probability.dtype == np.float32
    assert names["result"].mask[120, 80]


def test_the_scripts_and_links_that_it_names_exist():
    paths = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"scripts/\w+\.(?:py|sh)", README)
    assert len(paths) > 6
    for path in paths:
        assert (ROOT / path).exists(), path
