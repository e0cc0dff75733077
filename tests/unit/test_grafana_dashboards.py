"""The dashboards' files are what Grafana reads: current, whole, placed, and with SQL whose variables exist."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.grafana.__main__ import FOLDER, files
from tests.support.grafana.dashboards import DASHBOARDS
from tests.support.grafana.macros import Raw, View
from tests.support.grafana.model import ALL, COLUMNS, JAEGER, POSTGRESQL
from tests.support.grafana.statements import statements

BOARDS = {board.name: board.json() for board in DASHBOARDS}
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
each = pytest.mark.parametrize("name", BOARDS)


def texts(value: Any) -> list[str]:
    """Every string in a JSON value."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


def view(**variables: Any) -> View:
    return View(NOW - timedelta(hours=1), NOW, variables)


def test_the_files_are_current() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert found == files(), "run `make docs`"


@each
def test_panels_fill_a_grid_and_none_lies_on_another(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells
        taken |= cells
    bottom = max(y for _, y in taken)
    assert all(any((x, y) in taken for x in range(COLUMNS)) for y in range(bottom)), "there is an empty row"


@each
def test_panels_have_ids_titles_descriptions_units_and_known_data_sources(name: str) -> None:
    panels = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["datasource"] in (POSTGRESQL, JAEGER)


def test_each_dashboard_has_its_own_uid_and_title() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)
    assert all(re.fullmatch(r"[a-z-]{1,40}", board["uid"]) for board in BOARDS.values())


@each
def test_every_variable_that_is_used_exists_and_every_one_that_exists_is_used(name: str) -> None:
    board = BOARDS[name]
    asked = [text for panel in board["panels"] for target in panel["targets"] for text in texts(target)]
    asked += [text for one in board["templating"]["list"] for text in texts(one["query"])]
    used = {found for text in asked for found in re.findall(r"\$\{?((?!__)[a-z]\w*)", text)}
    assert used == {one["name"] for one in board["templating"]["list"]}


@each
def test_values_stand_where_they_are_quoted(name: str) -> None:
    """Of a list of values `ARRAY[$name]` makes literals, of a single one Grafana doubles the quotes that are in it."""
    several = {one["name"] for one in BOARDS[name]["templating"]["list"] if one.get("multi")}
    for panel in BOARDS[name]["panels"]:
        for sql in (target["rawSql"] for target in panel["targets"] if "rawSql" in target):
            for before, variable, after in re.findall(r"(.)\$\{?((?!__)[a-z]\w*)\}?(.)", sql):
                assert (before, after) == (("[", "]") if variable in several else ("'", "'")), sql


@each
def test_links_lead_to_dashboards_and_variables_that_exist(name: str) -> None:
    for text in texts(BOARDS[name]["panels"]):
        if text.startswith("/d/"):
            [(uid, page, asked)] = re.findall(r"^/d/([\w-]+)/(\w+)\?(.*)$", text)
            target = BOARDS[page]
            assert uid == target["uid"]
            wanted = {one["name"] for one in target["templating"]["list"]}
            assert set(re.findall(r"var-(\w+)=", asked)) <= wanted
            assert asked.endswith("${__url_time_range}")


def test_every_statement_of_a_file_is_shown() -> None:
    shown = {
        target["rawSql"]
        for board in BOARDS.values()
        for panel in board["panels"]
        for target in panel["targets"]
        if "rawSql" in target
    }
    shown |= {one["query"] for board in BOARDS.values() for one in board["templating"]["list"]}
    for file in ("overview", "service", "traces", "trace", "logs", "metrics", "ares", "variables"):
        for found, sql in statements(file).items():
            assert sql in shown, f"{file}.sql has {found}, which no panel shows"


def test_every_answer_of_rows_has_an_end() -> None:
    """By a LIMIT, or by points of time times twenty series."""
    for board in BOARDS.values():
        for panel in board["panels"]:
            for target in panel["targets"]:
                sql = target.get("rawSql", "")
                if panel["type"] in ("table", "nodeGraph") and "pg_class" not in sql:
                    assert re.search(r"\bLIMIT \d+", sql), panel["title"]
                if target.get("format") == "time_series" and "AS metric" in sql and "ingest_receipts" not in sql:
                    assert "LIMIT 20" in sql, panel["title"]


def test_macros_become_what_grafana_makes_of_them() -> None:
    hour = "BETWEEN '2026-03-01T11:00:00.000000Z' AND '2026-03-01T12:00:00.000000Z'"
    for sql, expanded in (
        ("WHERE $__timeFilter(minute) AND x", f"WHERE minute {hour} AND x"),
        ("$__timeTo()::timestamptz", "'2026-03-01T12:00:00.000000Z'::timestamptz"),
        ("$__timeGroup(t, '$__interval') AS x", "floor(extract(epoch from t)/60)*60 AS x"),
        ("$__timeGroup(t,'5m'), y", 'floor(extract(epoch from t)/300)*300 AS "time", y'),
        ("$__interval_ms / 2", "60000 / 2"),
    ):
        assert view().expanded(sql) == expanded
    with pytest.raises(ValueError, match="__timeGuess"):
        view().expanded("$__timeGuess(t)")


def test_variables_become_what_grafana_makes_of_them() -> None:
    shown = view(several=["a'b", "c"], all=Raw(ALL), one="x'); DROP TABLE y; --")
    assert shown.expanded("ARRAY[$several]") == "ARRAY['a''b','c']"
    assert shown.expanded("ARRAY[$all]") == "ARRAY['*']"
    assert shown.expanded("= '${one}'") == "= 'x''); DROP TABLE y; --'"


@each
def test_the_json_is_json(name: str) -> None:
    board = json.loads(files()[f"{name}.json"])
    assert board["schemaVersion"] >= 39
    assert "id" not in board, "the database of a Grafana gives it"
    assert not [text for text in texts(board) if "${DS_" in text], "data sources are found by their uid"
