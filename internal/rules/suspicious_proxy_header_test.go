package rules_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestSuspiciousProxyHeader(t *testing.T) {
	t.Parallel()
	for headers, want := range map[string]bool{
		`{"X-Forwarded-For": "198.51.100.88"}`:                         false,
		`{"X-Forwarded-For": "198.51.100.88:4711"}`:                    false,
		`{"X-Forwarded-For": "::ffff:198.51.100.88"}`:                  false,
		`{"X-Forwarded-For": "198.51.100.88, 203.0.113.9:443"}`:        true,
		`{"X-Forwarded-For": ["198.51.100.88", "203.0.113.9"]}`:        true,
		`{"X-Forwarded-For": "203.0.113.9, 198.51.100.88"}`:            true,
		`{"X-Real-IP": "203.0.113.1"}`:                                 true,
		`{"Forwarded": "for=\"[2001:db8::1]:80\";by=203.0.113.1"}`:     true,
		`{"Forwarded": "for=198.51.100.88;proto=https;host=10.0.0.1"}`: false,
		`{"Forwarded": "for=unknown"}`:                                 false,
		`{"Forwarded": "for=_hidden, for=198.51.100.88"}`:              false,
		`{"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}`:    false,
		`{"X-Forwarded-For": ""}`:                                      false,
		`{"X-Forwarded-For": null}`:                                    false,
		`{}`:                                                           false,
		`"203.0.113.200"`:                                              false,
	} {
		spoofing(t, headers, want)
	}
	d := detect(t, spec("suspicious_proxy_header", ""))
	m := d.at(0, "event_type", "x", "proxy_headers", `{"X-Real-IP": "203.0.113.1", "Forwarded": "for=203.0.113.2", "Via": "1.1 x"}`)[0]
	if m.Metadata["header_count"] != 3 || fmt.Sprint(m.Metadata["suspicious_headers"]) != "[Forwarded X-Real-IP]" {
		t.Errorf("match %+v", m)
	}
}

// spoofing asserts whether an event of 198.51.100.88 with these headers matches,
// and that none does on a trusted route.
func spoofing(t *testing.T, headers string, want bool) {
	t.Helper()
	d := detect(t, spec("suspicious_proxy_header", ""))
	event := `{"event_type": "x", "source.address": "198.51.100.88", "proxy_headers": ` + headers
	if got := len(d.at(0, "event", event+"}")) > 0; got != want {
		t.Errorf("%s matched: %t, want %t", headers, got, want)
	}
	d.want(d.at(0, "event", event+`, "trusted_route": true}`))
}

func TestSuspiciousProxyHeaderIgnoresHeadersThatNameNoClient(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		`"X-Forwarded-User": "alice"`, `"X-Forwarded-Email": "alice@example.com"`, `"X-Forwarded-Groups": "staff,admin"`,
		`"X-Forwarded-Preferred-Username": "alice"`, `"X-Forwarded-Access-Token": "eyJ"`, `"X-Forwarded-Client-Cert": "By=spiffe://a;Hash=203.0.113.9"`,
		`"CF-IPCountry": "DE"`, `"CF-Ray": "7d2-FRA"`, `"CF-Visitor": "{\"scheme\":\"https\"}"`, `"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678"`,
		`"X-Forwarded-Server": "203.0.113.9"`, `"X-Forwarded-By": "203.0.113.9"`, `"X-Forwarded-Host": "203.0.113.9"`, `"X-Forwarded-Tls-Client-Cert-Info": "x"`,
		`"X-B3-TraceId": "463ac35c9f6413ad"`, `"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1"`, `"X-Request-Id": "203.0.113.9"`,
		`"Via": "1.1 203.0.113.9"`, `"X-Envoy-Expected-Rq-Timeout-Ms": "15000"`, `"X-Azure-Ref": "0abc"`, `"X-Azure-SocketIP": "203.0.113.9"`,
		`"CloudFront-Viewer-Country": "DE"`, `"X-Remote-User": "alice"`, `"X-Original-URL": "/x"`, `"X-Real-Port": "443"`,
	} {
		spoofing(t, `{`+header+`}`, false)
		spoofing(t, `{`+header+`, "X-Forwarded-For": "198.51.100.88"}`, false)
		spoofing(t, `{`+header+`, "X-Forwarded-For": "203.0.113.9"}`, true)
	}
}

func TestSuspiciousProxyHeaderCountsOnlyAddresses(t *testing.T) {
	t.Parallel()
	for _, claim := range []string{
		"unknown", "-", "_gazonk", "alice", "198.051.100.088", "3325256792", "localhost", "proxy.example.com", "198.51.100.88/32", "null", "(null)",
		"unknown, 198.51.100.88", "garbage, 198.51.100.88", "198.51.100.88, proxy1", "0.0.0.0",
	} {
		for _, header := range []string{"X-Forwarded-For", "X-Real-IP", "True-Client-IP", "HTTP_X_FORWARDED_FOR"} {
			spoofing(t, fmt.Sprintf(`{%q: %q}`, header, claim), false)
		}
	}
}

func TestSuspiciousProxyHeaderKnowsTheHeadersThatNameAClient(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"X-Forwarded-For", "x-forwarded-for", "HTTP_X_FORWARDED_FOR", "X_FORWARDED_FOR", "X-Original-Forwarded-For", "X-Vercel-Forwarded-For", "X-Real-IP",
		"True-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "X-Client-IP", "Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP", "Fly-Client-IP",
		"X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "X-Azure-ClientIP", "WL-Proxy-Client-IP", "X-Appengine-User-IP", "X-Envoy-External-Address",
		"CloudFront-Viewer-Address",
	} {
		spoofing(t, fmt.Sprintf(`{%q: "203.0.113.9"}`, header), true)
		spoofing(t, fmt.Sprintf(`{%q: "198.51.100.88"}`, header), false)
	}
}

func TestSuspiciousProxyHeaderIgnoresPrivateHops(t *testing.T) {
	t.Parallel()
	for _, hop := range []string{
		"10.1.2.3", "172.16.0.9", "192.168.1.20", "100.64.7.9", "100.127.255.254", "169.254.1.1", "fd00::7", "fe80::1", "fe80::1%eth0", "10.1.2.3:51112", "[fd00::7]:443",
	} {
		spoofing(t, fmt.Sprintf(`{"X-Forwarded-For": "%s, 198.51.100.88"}`, hop), false)
		spoofing(t, fmt.Sprintf(`{"X-Forwarded-For": "%s"}`, hop), false)
		spoofing(t, fmt.Sprintf(`{"X-Forwarded-For": "198.51.100.88, %s"}`, hop), false)
		spoofing(t, fmt.Sprintf(`{"X-Forwarded-For": "%s, 203.0.113.9, 198.51.100.88"}`, hop), true)
		spoofing(t, fmt.Sprintf(`{"Forwarded": "for=\"%s\", for=198.51.100.88"}`, hop), false)
	}
	// Who pretends to be the server itself gets past checks of applications that believe it.
	for headers, want := range map[string]bool{
		`{"X-Forwarded-For": "127.0.0.1, 198.51.100.88"}`: false, `{"X-Forwarded-For": "127.0.0.1"}`: true, `{"X-Client-IP": "::1"}`: true,
		`{"X-Forwarded-For": "198.51.100.88, 127.0.0.1"}`: true, `{"X-Forwarded-For": "100.63.255.255, 198.51.100.88"}`: true, `{"X-Real-IP": "172.32.0.1"}`: true,
	} {
		spoofing(t, headers, want)
	}
}

func TestSuspiciousProxyHeaderComparesAddressesNotScopes(t *testing.T) {
	t.Parallel()
	for headers, want := range map[string]bool{
		`{"X-Forwarded-For": "2001:db8:1:2::7"}`:                        false,
		`{"X-Forwarded-For": "2001:DB8:1:2:0:0:0:7"}`:                   false,
		`{"X-Forwarded-For": "[2001:db8:1:2::7]:4711"}`:                 false,
		`{"X-Forwarded-For": "2001:db8:1:2::99"}`:                       false, // of the same network, which is one scope
		`{"Forwarded": "for=\"[2001:db8:1:2::7]:80\""}`:                 false,
		`{"CloudFront-Viewer-Address": "2001:db8:1:2::7:9985"}`:         false,
		`{"CloudFront-Viewer-Address": "2001:db8:1:2:0:0:0:7:9985"}`:    false,
		`{"X-Forwarded-For": "2001:db8:1:3::7"}`:                        true,
		`{"X-Forwarded-For": "2001:db8:1:2::7, 2001:db8:1:3::7"}`:       true,
		`{"CloudFront-Viewer-Address": "2001:db8:1:3::7"}`:              true,
		`{"X-Forwarded-For": "203.0.113.9"}`:                            true,
		`{"X-Forwarded-For": "2001:db8:1:2::7", "X-Real-IP": "fd00::"}`: false,
	} {
		d := detect(t, spec("suspicious_proxy_header", ""))
		d.decoder = wire.NewDecoder(wire.DecoderOptions{IPv6Prefix: 64})
		got := d.at(0, "event_type", "x", "source.address", "2001:db8:1:2::7", "proxy_headers", headers)
		if len(got) > 0 != want {
			t.Errorf("%s matched: %t, want %t", headers, len(got) > 0, want)
		}
	}
}

func TestSuspiciousProxyHeaderIgnoresTrustedProxies(t *testing.T) {
	t.Parallel()
	proxies, err := checker.ParseTrustedProxies([]string{"192.0.2.0/28"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	built, _, err := rules.Build([]rules.Spec{spec("suspicious_proxy_header", "")}, time.Minute, rules.WithTrustedProxies(proxies))
	if err != nil {
		t.Fatal(err)
	}
	for headers, want := range map[string]bool{
		`{"X-Forwarded-For": "198.51.100.88, 192.0.2.7"}`: false, `{"X-Real-IP": "192.0.2.15"}`: false,
		`{"X-Forwarded-For": "198.51.100.88, 192.0.2.16"}`: true, `{"X-Forwarded-For": "203.0.113.9, 192.0.2.7"}`: true,
	} {
		d := detect(t)
		d.set = rules.NewSet(built...)
		got := d.at(0, "event_type", "x", "source.address", "198.51.100.88", "proxy_headers", headers)
		if len(got) > 0 != want {
			t.Errorf("%s matched: %t, want %t", headers, len(got) > 0, want)
		}
	}
}
