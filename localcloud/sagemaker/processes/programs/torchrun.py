#!/usr/bin/env python3
"""torchrun for training jobs whose hosts are all this machine.

AWS's toolkit runs `torchrun --master_addr algo-1 --master_port 7777 ...` on each host of a job. Here DNS
knows no algo-1, and 7777 is one port for all jobs there are. So this program comes first on a job's PATH, and
changes nothing but the meeting place: the job's first host listens on a free port of the loopback interface
and writes it to the file LOCALCLOUD_RENDEZVOUS, where the others read it.

It is run through a symbolic link named torchrun. Its folder, the first where modules are then looked for,
holds none but such programs.
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
    """What torchrun does with these arguments, at the job's own port."""
    options = run.parse_args(list(arguments))  # type: ignore[no-untyped-call]
    if options.node_rank == 0:
        listener = socket.socket()
        listener.bind((_LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        # torchrun would listen on every interface of the machine, and only on a port named beforehand.
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
