package ingress

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wardstream/wardstream/internal/lenienthttp"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/internal/testenv"
)

const docs = "../../docs/"

func page(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile(docs + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// An attempt is a row of the table of who the client is.
type attempt struct {
	peer    string
	header  http.Header
	client  string
	failure bool
}

// attempts reads the rows below a line of the page.
func attempts(t *testing.T, below string) []attempt {
	t.Helper()
	_, rest, ok := strings.Cut(page(t, "reference/ingress-check.md"), below)
	if !ok {
		t.Fatalf("no %q in the page", below)
	}
	_, rest, _ = strings.Cut(rest, "|---|---|---|---|\n")
	var out []attempt
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(line, "|")
		a := attempt{peer: strings.TrimSpace(cells[1]), header: http.Header{}}
		for _, m := range regexp.MustCompile("`([^`:]+): ([^`]*)`").FindAllStringSubmatch(cells[2], -1) {
			value := regexp.MustCompile(`(\S+) × (\d+)`).ReplaceAllStringFunc(m[2], func(s string) string {
				var what string
				var n int
				if _, err := fmt.Sscanf(s, "%s × %d", &what, &n); err != nil {
					t.Fatal(err)
				}
				return strings.TrimSuffix(strings.Repeat(what+", ", n), ", ")
			})
			a.header.Add(m[1], value)
		}
		a.client, _, a.failure = strings.Cut(strings.TrimSpace(cells[3]), ", failure")
		if len(a.header) == 0 || a.client == "" {
			t.Fatalf("can't read the row %s", line)
		}
		out = append(out, a)
	}
	return out
}

// TestSpoofingTable runs the tables of docs/reference/ingress-check.md: at every endpoint a block
// of the client in the third column is the one that counts, and failures are distinguished from
// decisions.
func TestSpoofingTable(t *testing.T) {
	t.Parallel()
	for header, below := range map[string]string{"X-Forwarded-For": "What clients try, with", "Forwarded": "With `--client-header Forwarded`:", "CloudFront-Viewer-Address": "With `--client-header CloudFront-Viewer-Address`"} {
		rows := attempts(t, below)
		if len(rows) < 10 {
			t.Fatalf("only %d rows", len(rows))
		}
		env := testenv.Redis(t)
		s := served(t, func(o *Options) {
			onRedis(env)(o)
			o.TrustedProxies, o.ClientHeader, o.FailClosedPaths, o.Message = []string{"10.0.0.0/8"}, header, []string{"^/pay"}, "closed"
		})
		for _, row := range rows {
			for _, endpoint := range append(plainEndpoints(), "/nginx", "/ingress-nginx") {
				// No client is blocked: a failure on a path that isn't known to be open is a
				// denial.
				unblock(t, env)
				if res := s.ask(row, endpoint); (res.Code != 200) != (row.failure && endpoint != "/envoy/" && endpoint != "/envoy/shop/cart") {
					t.Errorf("%s, %.100v: %d", endpoint, row.header, res.Code)
				}
				// The client is blocked, and so is the one it claims to be, who gets another
				// answer.
				blockIn(t, env, "ip", row.client, time.Minute)
				res := s.ask(row, endpoint)
				if got := res.Body.String() + res.Header().Get("X-Error-Body"); got != "slow down" {
					t.Errorf("%s, %.100v: %s isn't taken for the client: %d %q", endpoint, row.header, row.client, res.Code, got)
				}
				unblock(t, env)
				if row.client != "6.6.6.6" {
					blockIn(t, env, "ip", "6.6.6.6", time.Minute)
				}
				if res := s.ask(row, endpoint); !row.failure && res.Code != 200 {
					t.Errorf("%s, %.100v: a claimed address is believed: %d", endpoint, row.header, res.Code)
				}
			}
		}
	}
}

func unblock(t *testing.T, env *testenv.RedisEnv) {
	t.Helper()
	keys, err := env.Client.Keys(t.Context(), env.Prefix+":block:*").Result()
	if err == nil && len(keys) > 0 {
		err = env.Client.Del(t.Context(), keys...).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A handler is a server's handler for proxies, asked without a network so that the peer can be any
// address.
type handler struct{ http.Handler }

func served(t *testing.T, change func(*Options)) handler {
	t.Helper()
	server, ok := start(t, change).server.services[0].server.(*lenienthttp.Server)
	if !ok {
		t.Fatal("the first service is not HTTP")
	}
	return handler{server.Handler}
}

func (h handler) ask(a attempt, endpoint string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, endpoint, nil)
	r.RemoteAddr = a.peer + ":4711"
	r.Header = a.header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestDocumentation: what the pages name is there, and what is there is named.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(docs + "how-to/ingress/*.md")
	if err != nil || len(files) < 6 {
		t.Fatalf("pages %v, %v", files, err)
	}
	metrics := page(t, "reference/metrics.md")
	text := page(t, "reference/ingress-check.md") + page(t, "reference/ingress-check-configuration.md") + metrics
	flags := []string{"config", "help", "output"}
	for _, f := range strictconfig.FieldsOf(reflect.TypeFor[Options]()) {
		flags = append(flags, strings.ReplaceAll(f.Name, "_", "-"))
	}
	for _, file := range files {
		body := page(t, "how-to/ingress/"+filepath.Base(file))
		text += body
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(body, -1) {
			var v any
			if err := yaml.Unmarshal([]byte(m[1]), &v); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		for _, m := range regexp.MustCompile(`ingress[-_.a-z]*(?::8080)?/([a-z-]+)\b`).FindAllStringSubmatch(body, -1) {
			if _, ok := endpoints()["/"+m[1]]; !ok && strings.Contains(m[0], ":8080") {
				t.Errorf("%s asks %s, which is not an endpoint", file, m[0])
			}
		}
	}
	for _, m := range regexp.MustCompile("`--([a-z][a-z0-9-]+)").FindAllStringSubmatch(text, -1) {
		if !slices.Contains(flags, m[1]) {
			t.Errorf("there is no flag --%s", m[1])
		}
	}
	everything := start(t, func(o *Options) {
		onRedis(testenv.Redis(t))(o)
		o.Mirror, o.Publish = true, true
	})
	families, err := everything.server.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"wardstream_ingress_errors_total"} // is there once something failed
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "wardstream_") {
			continue
		}
		known = append(known, f.GetName())
		labels := ""
		for i, label := range f.GetMetric()[0].GetLabel() {
			labels += strings.Repeat(", ", min(i, 1)) + "`" + label.GetName() + "`"
		}
		row := strings.ReplaceAll(fmt.Sprintf("| `%s` | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), labels), "|  |", "| |")
		if !strings.Contains(metrics, row) {
			t.Errorf("reference/metrics.md lacks %s", row)
		}
	}
	for _, name := range known {
		if !strings.Contains(metrics, "| `"+name+"` |") {
			t.Errorf("reference/metrics.md lacks %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`wardstream_ingress_[a-z_]+`).FindAllString(text, -1) {
		if !slices.Contains(known, name) {
			t.Errorf("there is no metric %s", name)
		}
	}
}

// TestEmulatedProxies sends the requests that Traefik, ingress-nginx and Envoy make of a client's request,
// which can't run here. The client's own headers come along, as these proxies pass them on.
func TestEmulatedProxies(t *testing.T) {
	t.Parallel()
	i := start(t, func(o *Options) {
		onRedis(blocked(t))(o)
		o.FailClosedPaths = []string{"^/pay"}
	})
	const spoofed = "Forwarded: for=" + visitor + "\r\nX_Forwarded_For: " + visitor + "\r\nX-Real-Ip-2: x\r\nAccept: */*\r\nUser-Agent: kube-probe\r\n"
	for name, request := range map[string]func(client, path string) string{
		// Traefik's forwardAuth: GET, the client's headers, and five of its own, which replace the client's.
		"traefik": func(client, path string) string {
			return "GET /traefik HTTP/1.1\r\nHost: ingress-check:8080\r\n" + spoofed +
				"X-Forwarded-For: " + client + "\r\nX-Forwarded-Method: POST\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: app.example.com\r\nX-Forwarded-Uri: " + path + "\r\n\r\n"
		},
		// The location that ingress-nginx generates for auth-url.
		"ingress-nginx": func(client, path string) string {
			return "GET /ingress-nginx HTTP/1.1\r\nHost: ingress-check.wardstream.svc.cluster.local\r\n" + spoofed +
				"X-Original-URL: https://app.example.com" + path + "\r\nX-Original-Method: POST\r\nX-Sent-From: nginx-ingress-controller\r\nX-Real-IP: " + client +
				"\r\nX-Forwarded-For: " + client + "\r\nX-Auth-Request-Redirect: " + path + "\r\n\r\n"
		},
		// Envoy's http_service: the request's method and path behind path_prefix, and the headers that are allowed.
		"envoy": func(client, path string) string {
			return "POST /envoy" + path + " HTTP/1.1\r\nHost: app.example.com\r\ncontent-length: 0\r\nx-forwarded-for: 6.6.6.6," + client + "\r\nx-envoy-internal: true\r\n\r\n"
		},
	} {
		denied := "HTTP/1.1 429 Too Many Requests"
		if name == "ingress-nginx" {
			denied = "HTTP/1.1 403 Forbidden"
		}
		for _, tc := range []struct{ client, path, want string }{
			{visitor, "/x?y=/pay", "HTTP/1.1 200 OK"},
			{attacker, "/x?y=1", denied},
			{visitor, "/pay/1?y=1", "HTTP/1.1 200 OK"},
			{"unknown", "/x?/pay", "HTTP/1.1 200 OK"},
			{"unknown", "/pay/1?x", denied},
		} {
			if got := i.raw(request(tc.client, tc.path)); got != tc.want {
				t.Errorf("%s, %s on %s: %q, want %q", name, tc.client, tc.path, got, tc.want)
			}
		}
	}
}
