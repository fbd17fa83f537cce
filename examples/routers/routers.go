// Package routers shows the middleware with routers other than the standard mux. It is a module of
// its own, so that importing the checker does not pull in any router.
package routers

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
)

// Middleware is what httpcheck.Middleware and httppublish.Middleware return.
type Middleware = func(http.Handler) http.Handler

// Chi returns a chi router that is protected by protect and whose responses publish publishes.
func Chi(protect, publish Middleware, hello http.HandlerFunc) http.Handler {
	r := chi.NewRouter()
	r.Use(protect, publish)
	r.Get("/users/{id}", hello)
	return r
}

// ChiRoute names the route of a request for httppublish.WithRoute.
func ChiRoute(r *http.Request) string {
	if c := chi.RouteContext(r.Context()); c != nil {
		return c.RoutePattern()
	}
	return ""
}

// Gorilla returns a router of gorilla/mux. Its Use adds middleware to routes that match and to
// nothing else, so put the middleware around the router: protect(publish(router)).
func Gorilla(hello http.HandlerFunc) *mux.Router {
	r := mux.NewRouter()
	r.HandleFunc("/users/{id}", hello).Methods(http.MethodGet)
	return r
}

// GorillaRoute returns a function for httppublish.WithRoute. The router notes the route in a copy
// of the request, so it is asked again.
func GorillaRoute(router *mux.Router) func(*http.Request) string {
	return func(r *http.Request) string {
		var match mux.RouteMatch
		if !router.Match(r, &match) || match.Route == nil {
			return ""
		}
		template, err := match.Route.GetPathTemplate()
		if err != nil {
			return ""
		}
		return template
	}
}
