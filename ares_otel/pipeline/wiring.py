"""How connectors tie pipelines together: which feeds which, and whether something would go round for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from ares_otel.pipeline.config import PipelineSpec


def find_cycle(pipelines: Iterable[PipelineSpec], connectors: Collection[str]) -> list[str]:
    """A way that leads back to its beginning: ids of pipelines and connectors in turn, the first pipeline again at the
    end; empty when there is none."""
    specs = {pipeline.id: pipeline for pipeline in pipelines}
    done: set[str] = set()
    for start in specs:
        way: list[str] = [start]
        open_steps = [_steps(specs[start], specs, connectors)]
        while open_steps:
            step = next(open_steps[-1], None)
            if step is None:
                open_steps.pop()
                done.add(way[-1])
                del way[-2:]
                continue
            connector, following = step
            if following in way:
                return [*way[way.index(following) :], connector, following]
            if following not in done:
                way += [connector, following]
                open_steps.append(_steps(specs[following], specs, connectors))
    return []


def upstream_first(pipelines: Iterable[PipelineSpec], connectors: Collection[str]) -> list[str]:
    """The connectors in an order in which each stands before those that it feeds. The pipelines must have no cycle."""
    specs = {pipeline.id: pipeline for pipeline in pipelines}
    downstream_first: list[str] = []
    visited: set[str] = set()

    def visit(id: str) -> None:
        if id in visited:
            return
        visited.add(id)
        steps = list(_steps(specs[id], specs, connectors))
        for _, following in steps:
            visit(following)
        downstream_first.extend(dict.fromkeys(one for one, _ in steps if one not in downstream_first))

    for id in specs:
        visit(id)
    return downstream_first[::-1]


def _steps(
    pipeline: PipelineSpec, pipelines: Mapping[str, PipelineSpec], connectors: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Each connector at the end of a pipeline, with each pipeline that it feeds."""
    return iter(
        [
            (connector, other.id)
            for connector in pipeline.exporters
            if connector in connectors
            for other in pipelines.values()
            if connector in other.receivers
        ]
    )
