"""What a configuration file may say, and what is said about one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ares_otel.model.signal import LOGS, TRACES
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.load import load_bytes, load_file
from ares_otel.pipeline.problem import ConfigError
from tests.support.toys import TOYS, TlsConfig, ToyConfig, ToyExporterConfig

PIPELINE = """
service:
  pipelines:
    traces: {receivers: [toy], exporters: [send]}
"""
BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)
MINIMAL = "receivers: {toy: }\nexporters: {send: }\n" + PIPELINE


def load(text: str, **environ: str) -> PipelineConfig:
    return load_bytes(text.encode(), "ares.yaml", TOYS, environ)


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    return str(caught.value).splitlines()


def exporter(options: str, **environ: str) -> ToyExporterConfig:
    indented = "\n".join(f"    {line}" for line in options.splitlines())
    config = load(f"receivers: {{toy: }}\nexporters:\n  send:\n{indented}\n{PIPELINE}", **environ)
    found = config.exporters["send"].config
    assert isinstance(found, ToyExporterConfig)
    return found


def exporter_problem(options: str, **environ: str) -> str:
    indented = "\n".join(f"    {line}" for line in options.splitlines())
    found = problems(f"receivers: {{toy: }}\nexporters:\n  send:\n{indented}\n{PIPELINE}", **environ)
    assert len(found) == 1, found
    return found[0]


def test_components_without_options_have_their_defaults() -> None:
    config = load(MINIMAL)
    assert config.receivers["toy"].config == ToyConfig()
    assert config.exporters["send"].config == ToyExporterConfig()
    assert config.pipelines["traces"].signal is TRACES
    assert config.telemetry.logs.level == "info"


def test_the_collectors_shape_is_read_with_names_and_several_pipelines() -> None:
    config = load(
        """
receivers:
  toy: {port: 4317}
  toy/second: {port: 4318}
processors:
  mark/a:
  mark/b: {label: b}
exporters:
  store:
  send: {timeout: 1m30s, sending_queue: {queue_size: 7}, retry_on_failure: {enabled: false}}
connectors: {}
extensions:
service:
  extensions: []
  telemetry: {logs: {level: DEBUG}, traces: {level: none}}
  pipelines:
    traces: {receivers: [toy, toy/second], processors: [mark/b, mark/a], exporters: [store, send]}
    logs/extra: {receivers: [toy], exporters: [store]}
"""
    )
    assert config.pipelines["traces"].processors == ("mark/b", "mark/a")
    assert config.pipelines["logs/extra"].signal is LOGS
    assert config.signals_of("toy") == {TRACES, LOGS}
    assert config.signals_of("toy/second") == {TRACES}
    sending = config.exporters["send"].config
    assert isinstance(sending, ToyExporterConfig)
    assert (sending.timeout, sending.sending_queue.queue_size, sending.retry_on_failure.enabled) == (90.0, 7, False)
    assert (config.telemetry.logs.level, config.telemetry.traces.level) == ("debug", "none")
    assert config.warnings == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("5s", 5), ("1m30s", 90), ("1.5h", 5400), ("0", 0), ("10us", 1e-5), ("2h45m.5s", 9900.5)],
)
def test_durations_are_written_as_in_the_collector(text: str, seconds: float) -> None:
    assert exporter(f"interval: {text}").interval == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "5 apples", "-5s", "''", "5s x", "1e9h", "true", "[1s]"])
def test_what_is_not_a_duration_is_refused_with_an_example(text: str) -> None:
    message = exporter_problem(f"interval: {text}")
    assert message.startswith("ares.yaml:4:15: exporters.send.interval: ")
    assert "duration" in message


def test_an_option_or_a_block_without_a_value_has_its_defaults() -> None:
    found = exporter("sending_queue:\nlabel:\ntls: {insecure: , ca_file: x}\nmutual_tls:\nrules:")
    assert found == ToyExporterConfig(tls=TlsConfig(ca_file="x"), mutual_tls=TlsConfig())


# --- variables ---------------------------------------------------------------------------------------------------


def test_a_variable_is_expanded_alone_and_inside_longer_text() -> None:
    found = exporter("label: http://${env:HOST}:${PORT}/x", HOST="example.org", PORT="80")
    assert found.label == "http://example.org:80/x"


def test_a_variable_that_is_the_whole_value_gets_the_type_of_its_text() -> None:
    found = exporter(
        "tls: {insecure: '${env:PLAIN}'}\nsending_queue: ${env:QUEUE}", PLAIN="true", QUEUE="{queue_size: 9}"
    )
    assert found.tls.insecure is True
    assert found.sending_queue.queue_size == 9


@pytest.mark.parametrize("secret", ["0123", "1e5", "true", "null", "", "a: b", "[x", "*star", "# no comment", "$x${Y}"])
def test_a_variable_for_a_text_option_keeps_its_text_exactly(secret: str) -> None:
    assert exporter("headers: {authorization: '${env:SECRET}'}", SECRET=secret).headers == {"authorization": secret}


def test_a_default_is_used_only_when_the_variable_is_not_set() -> None:
    options = "label: ${env:LABEL:-fallback:x}"
    assert exporter(options).label == "fallback:x"
    assert exporter(options, LABEL="").label == ""
    assert exporter(options, LABEL="set").label == "set"


def test_two_dollars_are_one_and_a_lonely_dollar_stays() -> None:
    assert exporter("label: $$ $${env:X} ^a$ $5").label == "$ ${env:X} ^a$ $5"


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    assert exporter("label: x${env:A}", A="${env:B}", B="b").label == "x${env:B}"


def test_an_unset_variable_without_default_is_one_error_with_its_place() -> None:
    assert exporter_problem("mode: propagate\nlabel: ${env:NOT_SET}") == (
        "ares.yaml:5:12: exporters.send.label: the environment variable NOT_SET is not set; set it, or give a default:"
        " ${env:NOT_SET:-value}."
    )


@pytest.mark.parametrize("reference", ["${file:/etc/passwd}", "${env:}", "${1,3}", "${env:A B}", "${}"])
def test_a_reference_that_is_none_says_how_to_write_it(reference: str) -> None:
    assert "write $${ for a literal ${" in exporter_problem(f"label: 'x{reference}'")


def test_used_variables_are_reported_whether_they_are_set_or_not() -> None:
    text = MINIMAL.replace("send: }", "send: {label: '${env:A} ${B:-b} $${env:C}'} }")
    assert load(text, A="1", D="4").used_variables == {"A", "B"}


def test_a_wrong_value_from_a_variable_is_not_shown_because_it_may_be_a_secret() -> None:
    message = exporter_problem("sending_queue: {queue_size: '${env:SECRET}'}", SECRET="hunter2")
    assert "exporters.send.sending_queue.queue_size" in message
    assert "hunter2" not in message


# --- errors ------------------------------------------------------------------------------------------------------


def test_an_unknown_section_names_the_nearest_one() -> None:
    assert problems(MINIMAL.replace("receivers: {toy: }", "recievers: {toy: }"))[0] == (
        "ares.yaml:1:1: recievers: unknown section; did you mean 'receivers'?"
    )


def test_an_unknown_type_names_the_nearest_one() -> None:
    assert "ares.yaml:2:13: exporters.sent/x: unknown type 'sent'; did you mean 'send'?" in problems(
        MINIMAL.replace("exporters: {send: }", "exporters: {sent/x: {a: 1}, send: }")
    )


def test_connectors_and_extensions_that_do_not_exist_are_errors() -> None:
    text = MINIMAL + "  extensions: [health_check]\nconnectors: {spanmetrics: }\nextensions: {zpages: }\n"
    assert [line.split(": ", 1)[1] for line in problems(text)] == [
        "service.extensions[0]: 'health_check' is not defined under extensions; defined extensions: zpages.",
        "connectors.spanmetrics: unknown type 'spanmetrics'; connectors here: link, loop.",
        "extensions.zpages: unknown type 'zpages'; there are no extensions here.",
    ]


def test_an_unknown_option_names_the_nearest_one_of_its_own_block() -> None:
    message = exporter_problem("sending_queue:\n  queue_sizes: 5")
    assert message == (
        "ares.yaml:5:7: exporters.send.sending_queue.queue_sizes: unknown option; did you mean 'queue_size'?"
    )
    message = exporter_problem("tls: {zzz: 5}")
    assert message.endswith("exporters.send.tls.zzz: unknown option; options: ca_file, insecure.")
    message = exporter_problem("rules:\n  - port: 1\n  - prt: 2")
    assert message == "ares.yaml:6:9: exporters.send.rules[1].prt: unknown option; did you mean 'port'?"


def test_a_wrong_type_names_the_option_and_the_value() -> None:
    message = exporter_problem("sending_queue:\n  queue_size: many")
    assert message == "ares.yaml:5:19: exporters.send.sending_queue.queue_size: must be a whole number, not 'many'."
    assert "options are written as `name: value`" in problems(MINIMAL.replace("send: }", "send: [1]}"))[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("tls: {insecure: ture}", "tls.insecure: must be true or false, not 'ture'."),
        ("tls: {insecure: 5}", "tls.insecure: must be true or false, not '5'."),
        ("tls: {insecure: [a]}", "tls.insecure: must be true or false."),
        ("tls: [a]", "tls: must be a mapping, `name: value` lines below it."),
        ("headers: x", "headers: must be a mapping, `name: value` lines below it, not 'x'."),
        ("label: 5", "label: must be a string, not '5'; write it in quotes."),
        ("label: true", "label: must be a string, not 'true'; write it in quotes."),
        ("label: [a]", "label: must be a string."),
        ("mode: ignored", "mode: must be 'ignore' or 'propagate', not 'ignored'."),
        ("rules: [{port: 1.5}]", "rules[0].port: must be a whole number, not '1.5'."),
        ("rules: [{port: -1}]", "rules[0].port: must be at least 0, not '-1'."),
        ("rules: [{port: 70000}]", "rules[0].port: must be at most 65535, not '70000'."),
    ],
)
def test_a_wrong_value_is_told_what_it_must_be(options: str, expected: str) -> None:
    assert exporter_problem(options).endswith(f": exporters.send.{expected}")


@pytest.mark.parametrize(
    "service",
    [
        "servce: {pipelines: {traces: {receivers: [toy], exporters: [send]}}}",
        "service: [traces]",
        "service: {pipelnes: {}}",
        "service: {pipelines: {trace: {receivers: [toy], exporters: [send]}}}",
        "service: {pipelines: '${env:NOT_SET}'}",
        "service: {pipelines: {traces: {receivers: [toi], exporters: [send]}}}",
    ],
)
def test_pipelines_that_cannot_be_read_do_not_make_everything_else_unused(service: str) -> None:
    found = problems(f"receivers: {{toy: , toy/b: }}\nexporters: {{send: , store: }}\n{service}\n")
    assert found
    assert not any("no pipeline uses it" in line for line in found), found


@pytest.mark.parametrize("text", ["[]", "x", "5", "[receivers]"])
def test_a_file_that_is_no_mapping_is_told_what_it_must_be(text: str) -> None:
    assert problems(text) == [
        "ares.yaml:1:1: the file must be a mapping with the sections receivers, exporters and service."
    ]


def test_a_missing_reference_names_the_nearest_defined_component() -> None:
    assert problems(MINIMAL.replace("[send]", "[sand]"))[-1] == (
        "ares.yaml:6:44: service.pipelines.traces.exporters[0]: 'sand' is not defined under exporters;"
        " did you mean 'send'?"
    )


def test_a_reference_to_another_section_says_where_it_is_defined() -> None:
    assert any(
        line.endswith("'toy' is defined under receivers, not under exporters.")
        for line in problems(MINIMAL.replace("[send]", "[send, toy]"))
    )


def test_a_signal_that_a_component_does_not_support_is_named() -> None:
    text = "receivers: {toy: }\nexporters: {spans_only: }\nservice:\n  pipelines:\n"
    assert problems(text + "    logs: {receivers: [toy], exporters: [spans_only]}") == [
        "ares.yaml:5:42: service.pipelines.logs.exporters[0]: 'spans_only' does not support logs, only traces."
    ]


def test_an_unused_component_is_a_warning_and_is_not_started() -> None:
    config = load(MINIMAL.replace("send: }", "send: , store: }"))
    assert [warning.show("f") for warning in config.warnings] == [
        "f:2:21: warning: exporters.store: no pipeline uses it, so it is not started."
    ]
    assert list(config.exporters) == ["send"]


@pytest.mark.parametrize(
    ("pipelines", "expected"),
    [
        ("{traces: {receivers: [toy]}}", "service.pipelines.traces: the pipeline has no exporters; name one."),
        ("{traces: {receivers: [], exporters: [send]}}", "the pipeline has no receivers; name one."),
        ("{traces: }", "the pipeline has no exporters; name one."),
        ("{trace: {receivers: [toy], exporters: [send]}}", "did you mean 'traces'?"),
        ("{traces/: {receivers: [toy], exporters: [send]}}", "a pipeline is called `signal` or `signal/name`"),
        ("{traces: {receivers: toy, exporters: [send]}}", "this is a list of ids, for example [toy]."),
        ("{traces: {receivers: [toy, toy], exporters: [send]}}", "'toy' stands in this list twice."),
        ("{traces: {receivers: [toy], exporters: [send], procesors: []}}", "unknown key; did you mean 'processors'?"),
        ("{traces: [toy]}", "service.pipelines.traces: this must be a mapping"),
        ("{}", "service.pipelines is empty"),
        ("", "service.pipelines is missing"),
    ],
)
def test_a_pipeline_that_cannot_work_is_an_error(pipelines: str, expected: str) -> None:
    found = problems(f"receivers: {{toy: }}\nexporters: {{send: }}\nservice:\n  pipelines: {pipelines}\n")
    assert any(expected in line for line in found), found


def test_all_problems_are_reported_at_once_sorted_by_line() -> None:
    found = problems(
        """recievers: {}
receivers:
  toy: {prt: 1, port: 99999}
exporters:
  send: {tls: {insecure: maybe}}
  snd:
service:
  telemetry: {logs: {level: loud}}
  pipelines:
    traces: {receivers: [toy], processors: [mark], exporters: [send]}
"""
    )
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == sorted(lines)
    assert set(lines) == {1, 3, 5, 6, 8, 10}


def test_a_key_that_stands_twice_is_an_error() -> None:
    assert problems("receivers: {toy: }\nexporters:\n  send: {}\n  send: {}\n" + PIPELINE) == [
        "ares.yaml:4:3: exporters.send: the key stands here a second time; the first is in line 3."
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("receivers: [\n", 2), ("a: b\n\tc: d\n", 2), ("a: 'x\n", 2), ("a: *nothing\n", 1), ("a: 1\n---\nb: 2\n", 2)],
)
def test_invalid_yaml_is_reported_with_its_line(text: str, line: int) -> None:
    (found,) = problems(text)
    assert found.startswith(f"ares.yaml:{line}:")
    assert "not valid YAML" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 10_000, "nested"),
        ("{a: " * 10_000, "nested"),
        ("x: &a {b: *a}", "nested"),
        ("x: &a {<<: *a}", "nested"),
        (BOMB, "more than"),
        ("#" * (1024 * 1024 + 1), "larger than"),
        ("a: !!python/object/apply:os.system ['true']", "tags"),
        ("? [a]\n: b", "key must be a plain name"),
        ("", "empty"),
        ("# nothing", "empty"),
    ],
)
def test_hostile_and_odd_files_are_refused_with_bounded_work(text: str, expected: str) -> None:
    assert any(expected in line for line in problems(text))


def test_yaml_anchors_and_merge_keys_work() -> None:
    config = load(
        "receivers: {toy: }\n"
        "exporters:\n"
        "  store: &shared {label: shared, port: 5}\n"
        "  store/b: {<<: *shared, port: 6}\n"
        "service: {pipelines: {traces: {receivers: [toy], exporters: [store, store/b]}}}\n"
    )
    assert config.exporters["store/b"].config == ToyConfig(label="shared", port=6)


def test_words_like_on_and_times_stay_text_as_in_the_collectors_yaml() -> None:
    assert exporter("label: on\nheaders: {a: 12:30, b: yes, c: 2024-01-01}").headers == {
        "a": "12:30",
        "b": "yes",
        "c": "2024-01-01",
    }


def test_a_file_that_cannot_be_read_or_is_not_text_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml:1:1: the file cannot be read: No such file"):
        load_file(tmp_path / "none.yaml", TOYS, {})
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"binary.yaml:2:1: the file is not UTF-8 text"):
        load_file(tmp_path / "binary.yaml", TOYS, {})
