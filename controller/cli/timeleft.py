"""The column of a progress bar that says how long it will take."""

from datetime import timedelta

from rich.progress import ProgressColumn, Task
from rich.text import Text


class TimeLeft(ProgressColumn):
    """Time for what is left, at the mean pace since the start.

    Rich's own forgets what ended half a minute ago, and all of it when more is announced.
    """

    def render(self, task: Task) -> Text:
        """H:MM:SS; unknown until something has ended."""
        if not task.completed or task.elapsed is None or task.remaining is None:
            return Text("-:--:--")
        return Text(str(timedelta(seconds=round(task.elapsed / task.completed * task.remaining))))
