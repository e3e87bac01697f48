from collections.abc import Sequence

import pytest

from activefreq.command_line import command
from activefreq.errors import CheckpointError, InputError


def raising(error: BaseException, *, resumes: bool = False):
    @command("script", resumes=resumes)
    def main(arguments: Sequence[str] | None = None) -> int:
        """What it does."""
        raise error

    return main


def test_what_main_answers_is_the_status():
    @command("script")
    def main(arguments: Sequence[str] | None = None) -> int:
        return len(arguments or ())

    assert main(["a", "b", "c"]) == 3
    assert main(None) == 0


@pytest.mark.parametrize(
    "error", [InputError("no such folder: x"), CheckpointError("x is damaged"), FileNotFoundError("x is gone")]
)
def test_what_is_wrong_is_one_line_and_status_2(error, capsys):
    assert raising(error)([]) == 2
    assert capsys.readouterr().err == f"script: {error}\n"


def test_an_interruption_says_whether_the_command_goes_on(capsys):
    assert raising(KeyboardInterrupt())([]) == 130
    assert capsys.readouterr().err == "script: interrupted\n"
    assert raising(KeyboardInterrupt(), resumes=True)([]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_a_defect_is_not_hidden():
    main = raising(ZeroDivisionError("oh"))
    with pytest.raises(ZeroDivisionError):
        main([])
    assert main.__doc__ == "What it does."
