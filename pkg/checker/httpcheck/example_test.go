package httpcheck_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// Three lines protect an application.
func Example() {
	mux := http.NewServeMux()

	client, err := redislookup.Connect("redis://localhost:6379/0")
	if err != nil {
		panic(err)
	}
	protected := httpcheck.Middleware(checker.New(redislookup.New(client)))(mux)

	server := &http.Server{Addr: ":8080", Handler: protected, ReadHeaderTimeout: 5 * time.Second}
	_ = server.ListenAndServe()
}

// Behind a proxy the client is the one that the proxy names, and a blocked one is denied.
func ExampleMiddleware() {
	lookup := blocks{{Scope: checker.IPScope(netip.MustParseAddr("203.0.113.9"), 0), Message: "Too many failed logins"}}
	proxies, err := checker.ParseTrustedProxies([]string{"10.0.0.0/8"}, 0)
	if err != nil {
		panic(err)
	}
	protect := httpcheck.Middleware(checker.New(lookup), httpcheck.WithTrustedProxies(proxies), httpcheck.WithSkipPaths("/healthz"))
	app := protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "welcome") }))

	for _, client := range []string{"203.0.113.9", "198.51.100.7"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:4711"
		r.Header.Set("X-Forwarded-For", client)
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		fmt.Println(client, w.Code, w.Body)
	}
	// Output:
	// 203.0.113.9 429 Too many failed logins
	// 198.51.100.7 200 welcome
}
