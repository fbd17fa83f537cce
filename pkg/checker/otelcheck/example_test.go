package otelcheck_test

import (
	"context"
	"fmt"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/otelcheck"
)

func Example() {
	provider := sdkmetric.NewMeterProvider() // your own, with its exporters
	telemetry, err := otelcheck.New(provider)
	if err != nil {
		panic(err)
	}
	c := checker.New(lookup{}, telemetry)
	d := c.Check(context.Background(), checker.Subject{User: "42"})
	fmt.Println(d.Result(), d.Block.Rule)
	// Output: blocked brute_force_login
}
