package promcheck_test

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/promcheck"
)

func Example() {
	registry := prometheus.NewRegistry()
	metrics, err := promcheck.Register(registry)
	if err != nil {
		panic(err)
	}
	c := checker.New(lookup{}, metrics)
	c.Check(context.Background(), checker.Subject{User: "43"})

	n, err := testutil.GatherAndCount(registry, "wardstream_checker_decisions_total")
	fmt.Println(n, "results are counted,", err)
	// Output: 4 results are counted, <nil>
}
