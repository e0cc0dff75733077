"""Checks a configuration file from top to bottom and reports everything that is wrong with it at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.pipeline.component import ConnectorFactory, Factory, Kind
from ares_otel.pipeline.config import ComponentSpec, PipelineConfig, PipelineSpec, ServiceTelemetry
from ares_otel.pipeline.env import Environment
from ares_otel.pipeline.options import parse_options
from ares_otel.pipeline.problem import ConfigError, Path, Problem, dotted, suggestion
from ares_otel.pipeline.wiring import find_cycle
from ares_otel.pipeline.yaml_source import Source

_CONNECTORS = Kind.CONNECTOR.value
_SECTIONS = tuple(kind.value for kind in Kind)
_ROLES = (Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER)
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}(/[^\s/][^\n]{0,255})?")


def check(source: Source, file: str, components: Sequence[Factory], environment: Environment) -> PipelineConfig:
    """Makes the configuration of a source.

    Raises:
        ConfigError: with every problem, sorted by line.
    """
    return _Check(source, file, components, environment).run()


class _Check:
    def __init__(self, source: Source, file: str, components: Sequence[Factory], environment: Environment) -> None:
        self.source = source
        self.file = file
        self.environment = environment
        self.factories = {(factory.kind.value, factory.type): factory for factory in components}
        self.declared: dict[str, set[str]] = {section: set() for section in _SECTIONS}
        """Ids by section, also of components whose options are wrong: a reference to them is not a second problem."""
        self.specs: dict[str, dict[str, ComponentSpec]] = {section: {} for section in _SECTIONS}
        self.used: dict[str, set[str]] = {section: set() for section in _SECTIONS}

    def run(self) -> PipelineConfig:
        source = self.source
        root = source.data
        pipelines: dict[str, PipelineSpec] = {}
        telemetry: ServiceTelemetry | None = None
        if isinstance(root, dict):
            self._unknown_keys((), root, (*_SECTIONS, "service"), "unknown section", "sections")
            for section in _SECTIONS:
                self._section(section, root.get(section))
            service = self._mapping(("service",), root.get("service"))
            self._unknown_keys(("service",), service, ("pipelines", "extensions", "telemetry"), "unknown key", "keys")
            telemetry = parse_options(ServiceTelemetry, self.source, ("service", "telemetry"), service.get("telemetry"))
            before = len(self.source.problems)
            self._references(("service", "extensions"), service.get("extensions"), Kind.EXTENSION.value, None)
            pipelines = self._pipelines(service.get("pipelines"))
            self._twice_declared()
            read = isinstance(root.get("service"), dict) and not any(path[:1] == ("service",) for path in source.failed)
            # Whoever is not named where a name could not be read may well be the one that was meant.
            if read and len(self.source.problems) == before:
                self._warn_unused()
                self._check_connectors(pipelines)
        elif root is not None and not self.source.problems:
            self._problem((), "the file must be a mapping with the sections receivers, exporters and service.")
        elif not self.source.problems:
            self._problem((), "the file is empty; it needs receivers, exporters and service.pipelines.")
        problems = self.source.problems
        if telemetry is None or any(not problem.warning for problem in problems):
            raise ConfigError(self.file, problems)
        return PipelineConfig(
            receivers=self._used_specs(Kind.RECEIVER),
            processors=self._used_specs(Kind.PROCESSOR),
            exporters=self._used_specs(Kind.EXPORTER),
            connectors=self._used_specs(Kind.CONNECTOR),
            pipelines=pipelines,
            telemetry=telemetry,
            used_variables=frozenset(self.environment.used),
            warnings=sorted(problems),
            file=self.file,
        )

    def _section(self, section: str, data: Any) -> None:
        path: Path = (section,)
        for name, options in self._mapping(path, data).items():
            inner = (*path, name)
            self.declared[section].add(name)
            if not _ID.fullmatch(name):
                self._problem(inner, f"{dotted(inner)}: an id is written `type` or `type/name`.", key=True)
                continue
            kind = name.partition("/")[0]
            factory = self.factories.get((section, kind))
            if factory is None:
                known = [type_ for of, type_ in self.factories if of == section]
                text = f"{dotted(inner)}: unknown type {kind!r}; {suggestion(kind, known, f'{section} here')}"
                self._problem(inner, text, key=True)
                continue
            config = parse_options(factory.config, self.source, inner, options)
            if config is not None:
                self.specs[section][name] = ComponentSpec(name, factory, config, self.source.place(inner, key=True))

    def _pipelines(self, data: Any) -> dict[str, PipelineSpec]:
        path: Path = ("service", "pipelines")
        if data is None:
            self._problem(path, "service.pipelines is missing: without a pipeline nothing is received.", key=True)
        pipelines = {}
        for name, body in self._mapping(path, data).items():
            inner = (*path, name)
            kind, slash, rest = name.partition("/")
            signal = SIGNALS.get(kind)
            if signal is None or (slash and not rest):
                hint = suggestion(kind, SIGNALS, "signals")
                text = f"{dotted(inner)}: a pipeline is called `signal` or `signal/name`; {hint}"
                self._problem(inner, text, key=True)
                continue
            roles = self._mapping(inner, body)
            self._unknown_keys(inner, roles, [kind.value for kind in _ROLES], "unknown key", "keys")
            ids = {
                role: self._references((*inner, role.value), roles.get(role.value), role.value, signal)
                for role in _ROLES
            }
            for role in (Kind.RECEIVER, Kind.EXPORTER):
                if roles.get(role.value) in (None, []):
                    self._problem(inner, f"{dotted(inner)}: the pipeline has no {role.value}; name one.", key=True)
            pipelines[name] = PipelineSpec(name, signal, ids[Kind.RECEIVER], ids[Kind.PROCESSOR], ids[Kind.EXPORTER])
        if data == {}:
            self._problem(path, "service.pipelines is empty: without a pipeline nothing is received.", key=True)
        return pipelines

    def _references(self, path: Path, data: Any, section: str, signal: Signal | None) -> tuple[str, ...]:
        """A list of component ids, each of which must be declared and, in a pipeline, support the signal."""
        if data is None or self.source.is_failed(path):
            return ()
        if not isinstance(data, list):
            self._problem(path, f"{dotted(path)}: this is a list of ids, for example [{data!s:.40}].")
            return ()
        found: list[str] = []
        for number, name in enumerate(data):
            inner = (*path, number)
            if self.source.is_failed(inner):
                continue
            if not isinstance(name, str):
                self._problem(inner, f"{dotted(inner)}: an id is written `type` or `type/name`.")
            elif name in found:
                self._problem(inner, f"{dotted(inner)}: {name!r} stands in this list twice.")
            elif name in self.declared[section]:
                found.append(name)
                self.used[section].add(name)
                spec = self.specs[section].get(name)
                if spec and signal and signal not in spec.factory.signals:
                    able = ", ".join(sorted(one.name for one in spec.factory.signals))
                    self._problem(inner, f"{dotted(inner)}: {name!r} does not support {signal.name}, only {able}.")
            elif name in self.declared[_CONNECTORS] and section in (Kind.RECEIVER.value, Kind.EXPORTER.value):
                found.append(name)
                self.used[_CONNECTORS].add(name)
                self._connector_fits(inner, name, section, signal)
            else:
                self._problem(inner, f"{dotted(inner)}: {self._missing(section, name)}")
        return tuple(found)

    def _connector_fits(self, path: Path, name: str, section: str, signal: Signal | None) -> None:
        spec = self.specs[_CONNECTORS].get(name)
        if spec is None or signal is None:
            return
        assert isinstance(spec.factory, ConnectorFactory)
        takes = section == Kind.EXPORTER.value
        able = spec.factory.signals if takes else spec.factory.emits
        if signal not in able:
            names = ", ".join(sorted(one.name for one in able))
            text = f"the connector {name!r} {'takes' if takes else 'makes'} no {signal.name}, only {names}."
            self._problem(path, f"{dotted(path)}: {text}")

    def _twice_declared(self) -> None:
        """A name in a pipeline must mean one thing."""
        for section in (Kind.RECEIVER.value, Kind.EXPORTER.value):
            for name in sorted(self.declared[_CONNECTORS] & self.declared[section]):
                path: Path = (_CONNECTORS, name)
                self._problem(path, f"{dotted(path)}: {name!r} is defined under {section} too; rename one.", key=True)

    def _check_connectors(self, pipelines: dict[str, PipelineSpec]) -> None:
        """A connector has two ends, and what goes into it must not come back to it."""
        for name in self.used[_CONNECTORS]:
            path: Path = (_CONNECTORS, name)
            fed = any(name in pipeline.exporters for pipeline in pipelines.values())
            read = any(name in pipeline.receivers for pipeline in pipelines.values())
            if not read:
                text = "no pipeline has it under receivers, so what it makes goes nowhere; add one that does."
                self._problem(path, f"{dotted(path)}: {text}", key=True)
            elif not fed:
                text = "no pipeline has it under exporters, so it gets nothing; add it to one."
                self._problem(path, f"{dotted(path)}: {text}", key=True)
        if cycle := find_cycle(pipelines.values(), self.declared[_CONNECTORS]):
            path = ("service", "pipelines", cycle[0])
            text = f"what goes into this pipeline would come back to it for ever: {' -> '.join(cycle)}."
            self._problem(path, f"{dotted(path)}: {text} Take one of these connectors out.", key=True)

    def _missing(self, section: str, name: str) -> str:
        for other in _SECTIONS:
            if name in self.declared[other]:
                return f"{name!r} is defined under {other}, not under {section}."
        hint = suggestion(name, self.declared[section], f"defined {section}")
        return f"{name!r} is not defined under {section}; {hint}"

    def _warn_unused(self) -> None:
        for kind in Kind:
            for name in self.specs[kind.value].keys() - self.used[kind.value]:
                path: Path = (kind.value, name)
                reason = "service.extensions does not name it" if kind is Kind.EXTENSION else "no pipeline uses it"
                text = f"{dotted(path)}: {reason}, so it is not started."
                self.source.problems.append(Problem(self.source.place(path, key=True), text, warning=True))

    def _used_specs(self, kind: Kind) -> dict[str, ComponentSpec]:
        return {id: spec for id, spec in self.specs[kind.value].items() if id in self.used[kind.value]}

    def _mapping(self, path: Path, data: Any) -> dict[str, Any]:
        if isinstance(data, dict):
            return data
        if data is not None and not self.source.is_failed(path):
            self._problem(path, f"{dotted(path)}: this must be a mapping (`name:` lines, indented).")
        return {}

    def _unknown_keys(self, path: Path, data: dict[str, Any], known: Iterable[str], text: str, what: str) -> None:
        known = tuple(known)
        for key in data:
            if key not in known:
                inner = (*path, key)
                self._problem(inner, f"{dotted(inner)}: {text}; {suggestion(key, known, what)}", key=True)

    def _problem(self, path: Path, message: str, *, key: bool = False) -> None:
        self.source.problems.append(Problem(self.source.place(path, key=key), message))
