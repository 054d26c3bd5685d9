"""The command `lexline` against a test's local cloud."""

import subprocess
import sys

from tests.stack import NO_SUCH_PROXY, PROJECT, DeployedStack


def lexline(stack: DeployedStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return its exit code and output."""
    return subprocess.run(
        [sys.executable, "-m", "lexline.cli", *arguments],
        cwd=PROJECT,
        env={
            **stack.cloud.environment(),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
            **NO_SUCH_PROXY,
            "LEXLINE_HOME": str(stack.cloud.state_dir),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
