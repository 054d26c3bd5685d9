"""`lexline generate`, `models`, `report` and `cost` at the terminal."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lexline import cli, registry, report_files, serving
from lexline.commands import outcomes
from lexline.registry import Model
from lexline.report_files import Stored
from lexline.serving import Serving
from tests.unit.lexline.conftest import run_lexline

pytestmark = pytest.mark.usefixtures("deployed")

WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ONE, TWO, THREE = (f"lexline-sotu-{digit * 12}" for digit in "123")


class FakeApi:
    """Stands for the HTTP API: answers with what it was asked."""

    def __init__(self, *_: Any) -> None:
        return

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"text": f"asked for {sorted(body.items())}"}

    def curl(self, path: str, body: dict[str, Any]) -> str:
        return f"curl {path} -H 'x-api-key: s3cr3t'"


class TestGenerate:
    @pytest.fixture(autouse=True)
    def _api(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outcomes, "HttpApi", FakeApi)

    def test_it_asks_only_for_what_it_was_told_and_prints_the_text(self) -> None:
        result = run_lexline("generate", "--words", "7", "--prompt", "My fellow")
        assert result.output == "asked for [('prompt', 'My fellow'), ('words', 7)]\n"

    def test_the_words_of_a_corpus_do_not_steer_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "a\x1b]0;title\x07 b\x9b31m\nc\td\u200c"
        monkeypatch.setattr(FakeApi, "post", lambda *_: {"text": text})
        result = CliRunner().invoke(cli.app, ["generate"], color=True)
        assert result.output == "a]0;title b31m\nc\td\u200c\n"

    def test_the_key_is_shown_only_when_the_curl_command_line_is_asked_for(self) -> None:
        assert "s3cr3t" not in run_lexline("generate").output
        assert run_lexline("generate", "--curl").output.startswith(
            "$ curl /generate -H 'x-api-key: s3cr3t'\n"
        )


MODELS = [
    Model(3, THREE, "sotu", WHEN, 99.0, TWO, 88.0, 99.0, "Rejected", "It is worse.", "", ""),
    Model(2, TWO, "sotu", WHEN, 88.0, ONE, 120.0, 90.5, "Approved", "Good.", "https://g/r", "abcdef0123"),
    Model(1, ONE, "[/so]", WHEN, 120.0, "", None, None, "Approved", "Good.", "", ""),
]


class TestModels:
    @pytest.fixture(autouse=True)
    def _models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "newest", lambda target, stack, count: MODELS[:count])
        live = Serving("InService", "lexline-sotu-444444444444", TWO, ONE, 1, None, "")
        monkeypatch.setattr(serving, "read", lambda *_: live)

    def test_each_is_told_with_its_figures_its_fate_and_whether_it_serves(self) -> None:
        lines = [line.split() for line in run_lexline("models").output.splitlines()]
        day, minute = WHEN.astimezone().strftime("%Y-%m-%d %H:%M").split()
        assert lines[1:4] == [
            ["3", "3" * 12, "sotu", day, minute, "99.0", "99.0", "to", "88.0", "rejected"],
            ["2", "2" * 12, "sotu", day, minute, "88.0", "90.5", "to", "120", "approved", "now", "abcdef0"],
            ["1", "1" * 12, "[/so]", day, minute, "120", "approved", "before"],
        ]

    def test_a_refusal_is_told_with_its_reason(self) -> None:
        assert "Version 3 rejected: It is worse.\n" in run_lexline("models").output

    def test_as_json_each_is_told_whole(self) -> None:
        told = json.loads(run_lexline("models", "--json").output)
        assert [(each["version"], each["serves"], each["served_before"]) for each in told] == [
            (3, False, False),
            (2, True, False),
            (1, False, True),
        ]
        assert told[0]["champion"] == TWO
        assert told[0]["approved"] is False
        assert told[1]["repository"] == "https://g/r"
        assert datetime.fromisoformat(told[1]["trained"]) == WHEN

    def test_only_as_many_as_asked_for(self) -> None:
        assert len(json.loads(run_lexline("models", "--json", "--last", "1").output)) == 1

    def test_an_endpoint_that_failed_serves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serving, "read", lambda *_: Serving("Failed", "c", TWO, "", 0, None, ""))
        assert not any(each["serves"] for each in json.loads(run_lexline("models", "--json").output))

    def test_before_the_first_there_are_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "newest", lambda *_: [])
        assert "lexline run FILE" in run_lexline("models").output
        assert json.loads(run_lexline("models", "--json").output) == []


class TestReport:
    @pytest.fixture(autouse=True)
    def _report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stored = Stored(ONE, f"s3://lexline-bucket/reports/{ONE}.html", WHEN)
        monkeypatch.setattr(report_files, "find", lambda *_: stored)
        monkeypatch.setattr(report_files, "page", lambda *_: b"<p>caf\xc3\xa9</p>")

    def test_it_says_where_the_page_is_and_how_to_save_it(self) -> None:
        output = run_lexline("report").output
        assert f"s3://lexline-bucket/reports/{ONE}.html" in output
        assert "`lexline report 111111111111 --save FILE`" in output

    def test_saved_it_is_what_the_run_wrote(self, tmp_path: Path) -> None:
        result = run_lexline("report", ONE, "--save", str(tmp_path / "a b.html"))
        assert (tmp_path / "a b.html").read_bytes() == b"<p>caf\xc3\xa9</p>"
        assert "/a%20b.html" in result.output

    def test_a_file_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        result = run_lexline("report", "--save", str(tmp_path / "none" / "a.html"))
        assert result.exit_code == 1
        assert "a.html cannot be written: No such file or directory." in result.output


TABLE = Path(__file__).parents[3] / "functions" / "pipeline" / "prices.json"


class TestPrices:
    @pytest.fixture
    def put(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        tables: list[bytes] = []

        def put_prices(target: object, stack: object, table: bytes) -> str:
            tables.append(table)
            return "s3://lexline-bucket/prices.json"

        monkeypatch.setattr(report_files, "put_prices", put_prices)
        return tables

    def test_a_table_is_put_where_the_pipeline_reads_it(self, put: list[bytes]) -> None:
        result = run_lexline("cost", "--prices", str(TABLE))
        assert result.exit_code == 0
        assert "s3://lexline-bucket/prices.json" in result.output
        assert put == [TABLE.read_bytes()]

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda table: table.pop("region"), "region: Field required"),
            (lambda table: table["training"].update({"ml.m5.large": -1}), "training.ml.m5.large"),
            (lambda table: table["hosting"].update({"m5.large": 1}), "hosting.m5.large"),
        ],
    )
    def test_a_table_that_the_pipeline_would_not_read_is_refused_by_field(
        self, put: list[bytes], tmp_path: Path, change: Callable[[dict[str, Any]], Any], complaint: str
    ) -> None:
        table = json.loads(TABLE.read_bytes())
        change(table)
        (tmp_path / "mine.json").write_text(json.dumps(table))
        result = run_lexline("cost", "--prices", str(tmp_path / "mine.json"))
        assert result.exit_code == 2
        assert "mine.json is no price table" in result.output
        assert complaint in result.output
        assert put == []

    def test_a_file_that_is_not_there_is_named(self, put: list[bytes], tmp_path: Path) -> None:
        result = run_lexline("cost", "--prices", str(tmp_path / "none.json"))
        assert result.exit_code == 2
        assert "none.json cannot be read" in result.output
