"""What a long measurement says while it runs."""

import time
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Lines with the time gone by, and the time left where it is known. Seconds throughout."""

    started: float = field(default_factory=time.monotonic)
    reported: float = 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def say(self, text: str, left: float | None = None) -> None:
        self.reported = self.elapsed
        rest = "" if left is None else f", about {clock(left)} left"
        print(f"[{clock(self.elapsed)}{rest}] {text}", flush=True)

    def due(self, every: float = 60.0) -> bool:
        """Whether it is time to say something again."""
        return self.elapsed - self.reported >= every


def clock(seconds: float) -> str:
    """4:05 for 245 seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
