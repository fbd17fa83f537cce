package mirror_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
	"github.com/wardstream/wardstream/pkg/checker/mirror"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// An application that checks in memory.
func Example() {
	ctx := context.Background()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	mux := http.NewServeMux()

	client, err := redislookup.Connect("redis://localhost:6379/0")
	if err != nil {
		panic(err)
	}
	m := mirror.New(client, mirror.WithPermanentTier(), mirror.WithOnState(func(state mirror.State, err error) {
		log.Warn("mirror of blocks", "state", state, "error", err)
	}))
	go func() { _ = m.Run(ctx) }()
	protect := httpcheck.Middleware(checker.New(m))

	server := &http.Server{Addr: ":8080", Handler: protect(mux), ReadHeaderTimeout: 5 * time.Second}
	_ = server.ListenAndServe()
}
