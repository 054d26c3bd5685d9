"""The walkthrough notebook runs whole against a local cloud, with small settings."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Clients
from tests.stack import PROJECT

NOTEBOOK = PROJECT / "notebooks" / "word_language_model.ipynb"
SMALL = """
MESSAGES = 2
HYPERPARAMETERS = {"epochs": 2, "emsize": 16, "nhid": 16, "nlayers": 1, "dropout": 0.2, "tied": True}
"""


@pytest.fixture(scope="module")
def executed(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The cells of the executed notebook. It writes its data beside itself, so a copy is executed."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, folder / "notebooks")
    (folder / "model_scripts").symlink_to(PROJECT / "model_scripts")
    result = folder / "executed.ipynb"
    clients.program("execute_notebook.py", str(folder / "notebooks" / NOTEBOOK.name), str(result), SMALL)
    cells: list[dict[str, Any]] = json.loads(result.read_text())["cells"]
    return cells


def printed(cells: list[dict[str, Any]], code: str) -> str:
    """What the cell with this code printed."""
    (cell,) = [each for each in cells if each["cell_type"] == "code" and code in "".join(each["source"])]
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def test_the_log_of_the_job_is_followed(executed: list[dict[str, Any]]) -> None:
    log = printed(executed, "trainer.train(")
    assert "--emsize 16" in log
    assert "test_perplexity=" in log


def test_the_curve_is_drawn(executed: list[dict[str, Any]]) -> None:
    pictures = [
        output
        for cell in executed
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1
    assert printed(executed, "plt.plot").startswith("test perplexity: ")


def test_every_temperature_gives_a_text(executed: list[dict[str, Any]]) -> None:
    texts = printed(executed, "for temperature in")
    for temperature in ("0.3", "0.7", "1.0", "1.5"):
        assert f"--- {temperature}\n" in texts
    assert len(texts.split()) > 100


def test_nothing_of_the_first_part_is_left(executed: list[dict[str, Any]], clients: Clients) -> None:
    sagemaker = clients.stack.cloud.client("sagemaker")
    prefix = f"{clients.stack.name}---notebook"
    assert sagemaker.list_endpoints(NameContains=prefix)["Endpoints"] == []
    assert sagemaker.list_endpoint_configs(NameContains=prefix)["EndpointConfigs"] == []
    assert sagemaker.list_models(NameContains=prefix)["Models"] == []


def test_the_upload_runs_the_pipeline_and_its_endpoint_is_deleted(executed: list[dict[str, Any]]) -> None:
    assert printed(executed, "put_object(").strip() == "SUCCEEDED Succeeded"
    assert printed(executed, "runtime.invoke_endpoint(").strip()
    assert printed(executed, "teardown_of").strip() == "SUCCEEDED"


def test_the_committed_notebook_has_no_output() -> None:
    cells = json.loads(Path(NOTEBOOK).read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
