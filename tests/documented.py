"""What the documentation tells people to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def documented_arguments(page: str, script: str) -> list[list[str]]:
    """The arguments of every command on a page of docs/ that calls a script; at least one does."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    commands = [shlex.split(line) for line in "\n".join(blocks).replace("\\\n", " ").splitlines()]
    found = [words[2:] for words in commands if words[:2] == ["python", f"scripts/{script}"]]
    assert found, f"{page} shows no command with {script}"
    return found
