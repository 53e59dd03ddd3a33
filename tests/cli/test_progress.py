"""What replays tell while they run."""

import io

from rich.console import Console
from rich.progress import Progress

from controller.cli.replaying import Bar

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
