package httppublish_test

import (
	"context"
	"net/http"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
	"github.com/wardstream/wardstream/pkg/publisher"
	"github.com/wardstream/wardstream/pkg/publisher/httppublish"
)

// One client serves both: blocked clients are denied, and what the others do is published.
func Example() {
	mux := http.NewServeMux()

	client, err := redislookup.Connect("redis://localhost:6379/0")
	if err != nil {
		panic(err)
	}
	events := publisher.New(client)
	protect := httpcheck.Middleware(checker.New(redislookup.New(client)))
	publish := httppublish.Middleware(events)

	server := &http.Server{Addr: "127.0.0.1:0", Handler: protect(publish(mux)), ReadHeaderTimeout: 5 * time.Second}
	_ = server.Close() // an application would run until it is stopped
	_ = server.ListenAndServe()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = events.Close(ctx) // sends what waits
	_ = client.Close()
}
