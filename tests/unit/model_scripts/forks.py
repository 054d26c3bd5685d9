"""Start training processes quickly: a server that has imported torch forks them.

Such a process may be killed as any other. The server runs as `python forks.py`, with requests on its standard
input, one a line, and an answer to each on its standard output:

    {"start": "Python code", "environment": {...}, "log": "path"}   ->   a process id
    {"wait": 123}                                                   ->   its exit code, -9 if it was killed
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from torch.distributed import TCPStore

SCRIPTS = Path(__file__).parents[3] / "model_scripts"


@dataclass(frozen=True)
class Fork:
    """A process that the server forked. Its output is appended to `log`."""

    pid: int
    log: Path
    server: "ForkServer"

    def wait(self) -> int:
        return self.server.ask({"wait": self.pid})

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)


class ForkServer:
    def __init__(self) -> None:
        self._stores: list[TCPStore] = []
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPTS)},
        )

    def ask(self, request: dict[str, object]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, code: str, environment: dict[str, str], log: Path) -> Fork:
        """Run code in a process of its own, with these variables besides the server's. It may end in
        sys.exit(code); after an exception its exit code is 1."""
        log.touch()
        pid = self.ask({"start": code, "environment": environment, "log": str(log)})
        return Fork(pid, log, self)

    def ranks(self, count: int) -> list[dict[str, str]]:
        """Return the environment of each rank, as torchrun sets it.

        Like torchrun, this process holds the store in which the ranks find each other: it has picked a free
        port and listens on it already, so that nobody else can take the port.
        """
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self._stores.append(store)
        return [
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
            }
            for rank in range(count)
        ]

    def close(self) -> None:
        """End the server. The caller ends processes that still run."""
        self._process.communicate()


def serve() -> None:
    """Import everything slow, then handle requests."""
    import matplotlib.figure  # noqa: F401

    import train  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                _become(request)
        print(answer, flush=True)
    os._exit(0)


def _become(request: dict[str, str | dict[str, str]]) -> None:
    """Run the code in the forked process and exit."""
    code = 1
    try:
        log = os.open(str(request["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(request["environment"])  # type: ignore[arg-type]
        exec(str(request["start"]), {})
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
