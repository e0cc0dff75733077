// Names metrics, labels and units as Prometheus does: with its own library. Reads JSON from standard input, prints the
// names as JSON in the same order; a name that the library refuses is null.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/otlptranslator"
)

type metric struct{ Name, Unit, Type, Strategy string }

type label struct {
	Key                 string
	UTF8                bool
	Sanitize            bool
	PreserveUnderscores bool
}

type unit struct {
	Unit string
	UTF8 bool
}

var types = map[string]otlptranslator.MetricType{
	"counter":   otlptranslator.MetricTypeMonotonicCounter,
	"gauge":     otlptranslator.MetricTypeGauge,
	"histogram": otlptranslator.MetricTypeHistogram,
	"summary":   otlptranslator.MetricTypeSummary,
}

func known(name string, err error) *string {
	if err != nil {
		return nil
	}
	return &name
}

func run() error {
	var asked struct {
		Metrics []metric
		Labels  []label
		Units   []unit
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	metrics, labels, units := []*string{}, []*string{}, []string{}
	for _, m := range asked.Metrics {
		namer := otlptranslator.NewMetricNamer("", otlptranslator.TranslationStrategyOption(m.Strategy))
		metrics = append(metrics, known(namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: types[m.Type]})))
	}
	for _, l := range asked.Labels {
		namer := otlptranslator.LabelNamer{
			UTF8Allowed:                 l.UTF8,
			UnderscoreLabelSanitization: l.Sanitize,
			PreserveMultipleUnderscores: l.PreserveUnderscores,
		}
		labels = append(labels, known(namer.Build(l.Key)))
	}
	for _, u := range asked.Units {
		namer := otlptranslator.UnitNamer{UTF8Allowed: u.UTF8}
		units = append(units, namer.Build(u.Unit))
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"metrics": metrics, "labels": labels, "units": units})
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
