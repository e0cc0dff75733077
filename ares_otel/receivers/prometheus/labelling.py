"""What a sample is called once the target's labels and the rules have had their say.

Source: prometheus.io, "Configuration", `honor_labels`, `metric_relabel_configs`, the limits of labels.
"""

from __future__ import annotations

from dataclasses import dataclass

from ares_otel.model.prometheus.labels import NAME
from ares_otel.receivers.prometheus.page import Pairs, Series, WrongPage
from ares_otel.receivers.prometheus.relabel import Labels, RelabelConfig, relabel


class Outcome:
    """A series as it is stored."""

    __slots__ = ("dropped", "labels", "name", "parts", "round")

    def __init__(self, name: str, labels: Pairs, *, dropped: bool = False) -> None:
        """
        Args:
            labels: sorted by name, without `__name__`, `job` and `instance` among them.
            dropped: whether a rule does not want it.
        """
        self.name = name
        self.labels = labels
        self.dropped = dropped
        self.round = -2
        """Number of the scrape that had it last."""
        self.parts: tuple[str, Pairs] | None = None
        """Of a line of a histogram or a summary: its bound or quantile, and the labels without that."""

    def part(self, label: str) -> tuple[str, Pairs]:
        """The value of `le` or `quantile`, empty where it is missing, and the labels without it."""
        if self.parts is None:
            value = next((value for name, value in self.labels if name == label), "")
            self.parts = value, tuple(pair for pair in self.labels if pair[0] != label)
        return self.parts


@dataclass(frozen=True, slots=True)
class Labelling:
    """How the series of one target are called."""

    target: Pairs
    """Labels of the target: `job`, `instance` and what the configuration gives it."""
    external: Pairs = ()
    honor_labels: bool = False
    rules: tuple[RelabelConfig, ...] = ()
    label_limit: int = 0
    name_limit: int = 0
    value_limit: int = 0

    def of(self, series: Series) -> Outcome:
        """What a series becomes; kept in it.

        Raises:
            WrongPage: a limit of labels is exceeded.
        """
        if isinstance(series.outcome, Outcome):
            return series.outcome
        labels = self._with_target(series.labels)
        labels[NAME] = series.name
        made = relabel(labels, self.rules) if self.rules else {name: one for name, one in labels.items() if one}
        if made is None or not made:
            outcome = Outcome(series.name, series.labels, dropped=True)
        else:
            name = made.get(NAME, "")
            if not name:
                raise WrongPage("relabelling leaves a sample without a name")
            self._check(made)
            outcome = Outcome(name, self.finished(made))
        series.outcome = outcome
        return outcome

    def report(self, name: str) -> Outcome:
        """A series about the target itself, such as `up`: no rule changes it."""
        return Outcome(name, self.finished(dict(self.target)))

    def finished(self, labels: Labels) -> Pairs:
        """The labels to store, with the external ones."""
        whole = {**dict(self.external), **labels}
        whole.pop(NAME, None)
        return tuple(sorted(whole.items()))

    def _with_target(self, pairs: Pairs) -> Labels:
        labels = dict(pairs)
        if self.honor_labels:
            for name, value in self.target:
                labels.setdefault(name, value)
            return labels
        taken = []
        for name, value in self.target:
            if own := labels.get(name):
                taken.append((name, own))
            labels[name] = value
        for name, value in sorted(taken, key=lambda pair: len(pair[0])):
            renamed = f"exported_{name}"
            while labels.get(renamed):
                renamed = f"exported_{renamed}"
            labels[renamed] = value
        return labels

    def _check(self, labels: Labels) -> None:
        if self.label_limit and len(labels) > self.label_limit:
            raise WrongPage(f"a sample has {len(labels)} labels, more than label_limit allows ({self.label_limit})")
        if not self.name_limit and not self.value_limit:
            return
        for name, value in labels.items():
            if self.name_limit and len(name.encode()) > self.name_limit:
                raise WrongPage(f"a label's name is longer than label_name_length_limit allows ({self.name_limit})")
            if self.value_limit and len(value.encode()) > self.value_limit:
                raise WrongPage(f"a label's value is longer than label_value_length_limit allows ({self.value_limit})")
