// Asks for a sampling strategy as applications in Go do: with OpenTelemetry's own remote sampler over HTTP, which then
// decides about root spans, and with grpc-go. Prints what came of it as JSON.
//
//	jaegerremote ADDRESS SERVICE DECISIONS OPERATION…
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"time"

	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"go.opentelemetry.io/contrib/samplers/jaegerremote"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func run(address, service string, decisions int, operations []string) (map[string]any, error) {
	sampler := jaegerremote.New(
		service,
		jaegerremote.WithSamplingServerURL("http://"+address+"/sampling"),
		jaegerremote.WithSamplingRefreshInterval(time.Hour),
		jaegerremote.WithInitialSampler(trace.NeverSample()),
	)
	defer sampler.Close()
	sampler.UpdateSampler()
	kept := map[string]float64{}
	for _, operation := range operations {
		sampled := 0
		for range decisions {
			var id oteltrace.TraceID
			binary.BigEndian.PutUint64(id[:8], rand.Uint64())
			binary.BigEndian.PutUint64(id[8:], rand.Uint64())
			result := sampler.ShouldSample(trace.SamplingParameters{
				ParentContext: context.Background(), TraceID: id, Name: operation,
			})
			if result.Decision == trace.RecordAndSample {
				sampled++
			}
		}
		kept[operation] = float64(sampled) / float64(decisions)
	}

	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	told, err := api_v2.NewSamplingManagerClient(connection).GetSamplingStrategy(
		ctx, &api_v2.SamplingStrategyParameters{ServiceName: service})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"kept":          kept,
		"type":          told.StrategyType.String(),
		"probabilistic": told.GetProbabilisticSampling(),
		"rate":          told.GetRateLimitingSampling(),
		"operations":    told.GetOperationSampling(),
	}, nil
}

func main() {
	decisions, err := strconv.Atoi(os.Args[3])
	var found map[string]any
	if err == nil {
		found, err = run(os.Args[1], os.Args[2], decisions, os.Args[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
