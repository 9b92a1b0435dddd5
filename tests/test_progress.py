import io

from rich.console import Console

from bumpfit import progress


def test_silent_when_not_a_terminal() -> None:
    stream = io.StringIO()
    with progress.bar("fits", 3, console=Console(file=stream)) as advance:
        advance(2, "p = 0.1")
    assert stream.getvalue() == ""


def test_draws_on_a_terminal_and_nests() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    with progress.bar("outer", 2, console=console) as advance:
        advance()
        with progress.bar("inner", 5, console=console) as inner:
            inner(3, "p = 0.25")
        advance()
    text = stream.getvalue()
    assert "outer" in text and "2/2" in text


def test_silent_when_asked() -> None:
    stream = io.StringIO()
    with progress.bar("fits", show=False, console=Console(file=stream, force_terminal=True)) as advance:
        advance()
    assert stream.getvalue() == ""
