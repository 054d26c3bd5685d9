"""The shell blocks of README.md, CONTRIBUTING.md, localcloud/README.md and docs/ run as they stand.

Each page's blocks run in order in one shell, as a reader types them, in a copy of the checkout, on a local
cloud of their own. These differences save time, and change no command:

- the copy's samconfig.toml has the hyperparameters of a tiny model, and state machines do not wait;
- `make` prints the commands of a target, which must exist, and does not run them;
- `pytest` collects its tests, which must exist, and does not run them;
- `curl` fails if the response is an error;
- `aws` is a stand-in for the AWS CLI, which makes the same calls;
- `lexline playground`, which only Ctrl-C ends, prints its help;
- `python -m localcloud`, which only Ctrl-C ends, runs in the background.

Blocks whose first line is `# on AWS` need an account. Of their commands only the arguments are checked.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from localcloud import control
from tests.stack import PROJECT, TINY
from tests.unit.docs.blocks import PAGES, Block, shell_blocks

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
FILES = {
    "my-text.txt": "".join(
        f"The president of the union said {n % 97} words to the people , and {n % 53} to the House .\n"
        for n in range(300)
    ),
    "secret.json": '{"host": "github.com", "token": "TOKEN"}',
}
"""The files that the pages ask their reader for."""
PRELUDE = f"""
lexline() {{ if [ "$1" = playground ]; then set -- "$@" --help; fi; command lexline "$@"; }}
make() {{ command make --dry-run "$@"; }}
curl() {{ command curl --fail --silent --show-error "$@"; }}
.venv/bin/python() {{
  if [ "$*" != "-m localcloud" ]; then command .venv/bin/python "$@"; return; fi
  command .venv/bin/python -m localcloud &
  trap "kill $!; wait $! || true" EXIT
  until command .venv/bin/python -m localcloud --env > /dev/null 2>&1; do kill -0 $!; sleep 0.5; done
}}
aws() {{ {shlex.quote(sys.executable)} {shlex.quote(str(PROJECT))}/tests/verification/aws_cli.py "$@"; }}
"""
"""The functions of the shell in which the blocks run."""
CHECKING = f"""{PRELUDE}
lexline() {{ command lexline "$@" --help > /dev/null; }}
sam() {{ command sam "$@" --help > /dev/null; }}
"""
"""The same for an account. A command that prints its help refuses an option that it does not have."""
NAMES = ("STACK_NAME", "BUCKET", "STATE_MACHINE_ARN", "ENDPOINT_NAME", "TOPIC_ARN", "API_URL", "API_KEY")
"""The variables that `lexline env` sets."""
HERE = [page for page in PAGES if not all(block.on_aws for block in shell_blocks(page))]
ON_AWS = [page for page in PAGES if any(block.on_aws for block in shell_blocks(page))]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, which deploys a stack for tiny corpora."""
    copy = tmp_path_factory.mktemp("documented") / "lexline"
    left_out = shutil.ignore_patterns(
        ".git", ".venv", ".venv-clients", ".lexline", ".*_cache", ".hypothesis", "__pycache__"
    )
    shutil.copytree(PROJECT, copy, symlinks=True, ignore=left_out)
    (copy / ".venv").symlink_to(BIN.parent)
    for name, text in FILES.items():
        (copy / name).write_text(text, encoding="utf-8")
    config = (copy / "samconfig.toml").read_text(encoding="utf-8")
    tiny = "".join(f'    "{name}={value}",\n' for name, value in TINY.items())
    config = re.sub(rf'    "(?:{"|".join(TINY)})=.*",\n', "", config)
    config, replaced = re.subn(r"(parameter_overrides = \[\n(?: .*\n)*)", rf"\1{tiny}", config)
    assert replaced == 1
    (copy / "samconfig.toml").write_text(config, encoding="utf-8")
    return copy


@pytest.fixture
def environment(checkout: Path, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """The environment of a newcomer's shell. Afterwards the local cloud that the shell started is stopped."""
    foreign = ("AWS_", "LEXLINE_", "MAKE", "PYTEST_")
    home = tmp_path / "a home"
    yield {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "LEXLINE_HOME": str(home),
        "SFN_WAIT_SCALE": "0.02",
        "PYTEST_ADDOPTS": "--collect-only --quiet -p no:cacheprovider",
    }
    control.stop(home)


def type_in(prelude: str, found: Sequence[Block], checkout: Path, environment: Mapping[str, str]) -> None:
    """Run blocks in one shell, and answer its questions with yes."""
    script = prelude + "".join(f": line {block.line}\n{block.text}" for block in found)
    shell = subprocess.run(
        ["bash", "-exuo", "pipefail", "-c", script],
        cwd=checkout,
        env=environment,
        input="y\n" * 10,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
        check=False,
    )
    assert shell.returncode == 0, shell.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("page", HERE)
def test_the_commands_of_a_page_succeed(page: str, checkout: Path, environment: Mapping[str, str]) -> None:
    found = [block for block in shell_blocks(page) if not block.on_aws]
    type_in(PRELUDE, found, checkout, environment)


@pytest.mark.parametrize("page", ON_AWS)
def test_commands_for_aws_have_names_and_options_that_exist(
    page: str, checkout: Path, environment: Mapping[str, str]
) -> None:
    found = [block for block in shell_blocks(page) if block.on_aws]
    type_in(CHECKING, found, checkout, {**environment, **dict.fromkeys(NAMES, "name"), "CHECK_ONLY": "yes"})
