"""What replays tell while they run."""

import io

from rich.console import Console
from rich.progress import Progress

from controller.cli.progress import Bar, progress_bar

LINE = "  0 jobs  harm [% ballast] 0.0012"


def said(terminal: bool, monkeypatch, capsys) -> tuple[str, str]:
    """Standard error and output after a line was said and a replay ended; both are a `terminal`, or files."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=40)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    with Progress("{task.completed}/{task.total}", console=console, disable=not terminal) as progress:
        bar = Bar(progress, progress.add_task("worlds", total=None))
        bar.more(1)
        bar.say(LINE)
        bar.done()
    return console.file.getvalue(), capsys.readouterr().out


def test_a_line_stands_above_the_bar_on_a_terminal(monkeypatch, capsys):
    terminal, output = said(True, monkeypatch, capsys)

    assert output == ""
    assert any(line.endswith(LINE) for line in terminal.splitlines())
    assert "1/1" in terminal.split(LINE)[1]


def test_a_line_goes_to_standard_output_where_that_is_a_file(monkeypatch, capsys):
    assert said(False, monkeypatch, capsys) == ("", f"{LINE}\n")


class Replays:
    """Four, announced in two parts, of which one has ended after 60 s and two after 80 s."""

    def __init__(self, monkeypatch, terminal: bool) -> None:
        self.now = 0.0
        self.console = Console(file=io.StringIO(), force_terminal=terminal, width=80, get_time=lambda: self.now)
        monkeypatch.setattr("controller.cli.progress.terminal", lambda **_: self.console)

    def told(self) -> list[str]:
        """What was left to read on standard error when each had ended."""
        found = []
        with progress_bar("replays") as bar:
            bar.more(2)
            for self.now, more in ((60.0, 2), (80.0, 0)):
                bar.done()
                bar.more(more)
                bar._progress.refresh()
                found.append(self.console.file.getvalue().splitlines()[-1])
        return found


def test_a_terminal_is_told_how_many_of_all_have_ended_and_the_time_left(monkeypatch):
    first, second = Replays(monkeypatch, terminal=True).told()

    assert "1/4" in first
    assert "0:03:00" in first
    assert "2/4" in second
    assert "0:01:20" in second


def test_a_file_is_told_nothing(monkeypatch):
    replays = Replays(monkeypatch, terminal=False)
    with progress_bar("replays") as bar:
        bar.more(1)
        bar.done()

    assert replays.console.file.getvalue() == ""
