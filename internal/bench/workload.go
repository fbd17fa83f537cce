// Package bench measures Wardstream end to end: real detector processes, a
// real Redis and a known workload. Its figures come as JSON, one a line; see
// `make bench`.
package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// addresses is how many clients the workload has.
const addresses = 5000

// A Workload makes mixed events of a shop: 60 % successes, 25 % client errors,
// 10 % failed logins and 5 % logins, from addresses that are Zipf-distributed.
// The same seed makes the same events.
type Workload struct {
	random *rand.Rand
	zipf   *rand.Zipf
	made   int
}

// NewWorkload returns a workload.
func NewWorkload(seed uint64) *Workload {
	r := rand.New(rand.NewPCG(seed, 0))
	return &Workload{random: r, zipf: rand.NewZipf(r, 1.1, 1, addresses-1)}
}

// Next returns the attributes of the next event.
func (w *Workload) Next() []string {
	w.made++
	client := w.zipf.Uint64()
	fields := []string{
		"schema_version", "1.0",
		"request_id", fmt.Sprintf("%016x%016x", w.random.Uint64(), w.random.Uint64()),
		"source.address", fmt.Sprintf("%d.%d.%d.%d", 11+client%180, client/7%256, client/3%256, 1+client%254),
	}
	switch p := w.random.IntN(100); {
	case p < 60:
		return append(fields, w.response(client, "http.response.success", "200")...)
	case p < 85:
		return append(fields, w.response(client, "http.response.client_error", "404")...)
	case p < 95:
		return append(fields, w.login("auth.login.failed", "failure", client)...)
	default:
		return append(fields, w.login("auth.login.success", "success", client)...)
	}
}

func (w *Workload) response(client uint64, eventType, status string) []string {
	route, path := "/about/", "/about/"
	if w.random.IntN(2) == 0 { // half the routes have something to enumerate
		route, path = "/orders/<int:id>/", "/orders/"+strconv.Itoa(w.random.IntN(200))+"/"
	}
	return []string{
		"event_type", eventType, "user.id", strconv.FormatUint(1000+client, 10),
		"session.id", fmt.Sprintf("%032x", client), "http.request.method", "GET",
		"http.response.status_code", status, "url.full", "https://shop.example.test" + path,
		"url.path", path, "http.route", route, "http.route_name", "orders-detail",
		"action.name", "response", "action.method", "GET", "outcome", "success", "action.result", "success",
		"duration_ns", strconv.Itoa(1_000_000 + w.random.IntN(90_000_000)),
	}
}

func (w *Workload) login(eventType, outcome string, client uint64) []string {
	return []string{
		"event_type", eventType, "user.name", "user" + strconv.FormatUint(client, 10),
		"http.request.method", "POST", "url.full", "https://shop.example.test/login/", "url.path", "/login/",
		"action.name", "login", "action.method", "POST", "outcome", outcome, "action.result", outcome,
	}
}

// JSON is the entry that carries the attributes as one object.
func JSON(attributes []string) []string {
	object := make(map[string]string, len(attributes)/2)
	for i := 0; i+1 < len(attributes); i += 2 {
		object[attributes[i]] = attributes[i+1]
	}
	raw, _ := json.Marshal(object) // strings always can be
	return []string{"event", string(raw)}
}
