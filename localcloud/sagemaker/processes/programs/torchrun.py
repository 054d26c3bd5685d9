#!/usr/bin/env python3
"""torchrun for training jobs whose hosts all run on this machine.

AWS's toolkit runs `torchrun --master_addr algo-1 --master_port 7777 ...` on each host of a job. Here DNS does
not know algo-1, and all jobs would share port 7777. So this program comes first on a job's PATH and changes
only the
meeting place: the job's first host listens on a free port of the loopback interface and writes it to the file
LOCALCLOUD_RENDEZVOUS, which the other hosts read.

It runs through a symbolic link named torchrun. Python searches this folder first for modules, so the folder
must not hold a module that torchrun imports by name.
"""

import functools
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

_LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str], meeting_place: Path) -> None:
    """Run torchrun with these arguments, at the job's own port."""
    options = run.parse_args(list(arguments))  # type: ignore[no-untyped-call]
    if options.node_rank == 0:
        listener = socket.socket()
        listener.bind((_LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        # torchrun itself would listen on every interface, and only on a port given in advance.
        module = vars(static_tcp_rendezvous)
        module["TCPStore"] = functools.partial(module["TCPStore"], master_listen_fd=listener.detach())
        written = meeting_place.with_suffix(".new")
        written.write_text(str(port))
        written.rename(meeting_place)
    while not meeting_place.exists():
        time.sleep(0.05)
    options.master_addr = _LOOPBACK
    options.master_port = int(meeting_place.read_text())
    run.run(options)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1:], Path(os.environ["LOCALCLOUD_RENDEZVOUS"]))
