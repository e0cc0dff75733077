// Prometheus's own suite for receivers of remote write, which are tests of a module that calls itself by another name
// than the one it is published under: hence the replacement.
module ares-otel.test/remotewrite

go 1.25.0

require github.com/prometheus/complicance/remotewrite2 v0.0.0

replace github.com/prometheus/complicance/remotewrite2 => github.com/prometheus/compliance/remotewrite/receiver v0.0.0-20260806071727-67b8327a2e93
