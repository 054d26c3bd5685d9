"""Progress messages of long measurements."""

import time
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Prints lines with the elapsed time and, if known, the remaining time. All times are in seconds."""

    started: float = field(default_factory=time.monotonic)
    reported: float = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def say(self, text: str, left: float | None = None) -> None:
        """Print a line. left: the remaining seconds."""
        self.reported = self.elapsed
        rest = "" if left is None else f", about {clock(left)} left"
        print(f"[{clock(self.elapsed)}{rest}] {text}", flush=True)

    def due(self, every: float = 60.0) -> bool:
        """Return whether the last line is at least `every` seconds old."""
        return self.elapsed - self.reported >= every


def clock(seconds: float) -> str:
    """Format seconds: 4:05 for 245."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
