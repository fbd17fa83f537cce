package wire_test

import (
	"testing"

	"github.com/wardstream/wardstream/internal/wire"
)

// TestDecodeAddresses: what stands in source.address, and the ip scope that it makes; "" is none,
// and the attribute is still there.
func TestDecodeAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"203.0.113.9": "203.0.113.9", " 203.0.113.9\n": "203.0.113.9", "203.0.113.9:50000": "203.0.113.9",
		`"203.0.113.9"`: "203.0.113.9", `'203.0.113.9'`: "203.0.113.9", `b'203.0.113.9'`: "203.0.113.9", `"203.0.113.9:50000"`: "203.0.113.9", ` "203.0.113.9" `: "203.0.113.9",
		"203.0.113.9/32": "203.0.113.9", `"203.0.113.9/32"`: "203.0.113.9", "2001:db8::7/128": "2001:db8::7", "::ffff:203.0.113.9/128": "203.0.113.9",
		"203.0.113.9, 203.0.113.9": "203.0.113.9", "['203.0.113.9']": "203.0.113.9", `["203.0.113.9"]`: "203.0.113.9", "203.0.113.9:1,203.0.113.9:2": "203.0.113.9",
		"2001:db8::7": "2001:db8::7", "[2001:db8::7]:9985": "2001:db8::7", "[2001:db8::7]": "2001:db8::7", "2001:db8::7%eth0": "2001:db8::7",
		"2001:db8:a:b::7:50000": "2001:db8:a:b::7", "2001:db8:a:b::7:65535": "2001:db8:a:b::7", "2001:db8:0:1:2:3:4:5:80": "2001:db8:0:1:2:3:4:5",
		"2001:db8:0:1:2:3:4:5:9985": "2001:db8:0:1:2:3:4:5", "::ffff:203.0.113.9:9985": "203.0.113.9", "[::ffff:203.0.113.9]:9985": "203.0.113.9",
		"2001:db8:a:b:1:2:3:9985": "2001:db8:a:b:1:2:3:9985", "2001:db8::9985": "2001:db8::9985", "2001:db8::7:998f": "2001:db8::7:998f", "2001:db8::7:85": "2001:db8::7:85",
		"2001:db8::7:985": "2001:db8::7:985", "2001:db8::7:0985": "2001:db8::7:985",

		"2001:db8:a:b::7:9985": "", "2001:db8::7:1024": "", "::1:9985": "", "fe80::7:9985%eth0": "fe80::7:9985", `"2001:db8:a:b::7:9985"`: "",
		"2001:db8:a:b::7:65536": "", "2001:db8:a:b::7:99999": "", "2001:db8:a:b::7:123456": "",
		"203.0.113.9, 10.0.0.5": "", "203.0.113.9 10.0.0.5": "", "203.0.113.9,": "", ",203.0.113.9": "", "203.0.113.9;10.0.0.5": "",
		"203.0.113.0/24": "", "203.0.113.9/24": "", "2001:db8::/64": "", "0.0.0.0/0": "", "203.0.113.9/33": "",
		"host.example.com": "", "localhost": "", "unknown": "", "_hidden": "", "None": "", "-": "", "203.0.113": "", "203.0.113.9.1": "", "0xcb007109": "", "3405803785": "",
		"203.0.113.09": "", "203.0.113.9:port": "", "203.0.113.9:": "", "http://203.0.113.9/": "", "203.0.113.9 (proxy)": "", `"`: "", `""`: "", "[]": "", "\xff": "", "203.0.113.9\x00": "",
	} {
		for _, fields := range [][]string{{"event_type", "x", "source.address", text}, {"event_type", "x", "srcip", text}} {
			e := decode(t, wire.DecoderOptions{}, fields...)
			if got := e.Scope("ip"); got != want {
				t.Errorf("%q is %q, want %q", fields[3], got, want)
			}
			if _, ok := e.Get("source.address"); !ok {
				t.Errorf("%q cannot be distinguished from no address", fields[3])
			}
		}
	}
}

// TestDecodePortsWithoutBrackets: with different ports there are never as many addresses.
func TestDecodePortsWithoutBrackets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts wire.DecoderOptions
		want []string
	}{
		"unknown":            {wire.DecoderOptions{}, []string{""}},
		"ports":              {wire.DecoderOptions{IPv6Port: wire.PortAlways}, []string{"2001:db8:a:b::7"}},
		"one network":        {wire.DecoderOptions{IPv6Prefix: 64}, []string{"2001:db8:a:b::/64"}},
		"ports, one network": {wire.DecoderOptions{IPv6Prefix: 64, IPv6Port: wire.PortAlways}, []string{"2001:db8:a:b::/64"}},
		"addresses":          {wire.DecoderOptions{IPv6Port: wire.PortNever}, []string{"2001:db8:a:b::7:9985", "2001:db8:a:b::7:9986"}},
	} {
		seen := map[string]bool{}
		for _, port := range []string{"9985", "9986"} {
			e := decode(t, c.opts, "event_type", "x", "source.address", "2001:db8:a:b::7:"+port)
			seen[e.Scope("ip")] = true
		}
		if len(seen) != len(c.want) || !seen[c.want[0]] {
			t.Errorf("%s: %v, want %q", name, seen, c.want)
		}
	}
}

// TestDecodeAddressConflict: an event that names its client twice says so where the addresses
// differ; source.address counts.
func TestDecodeAddressConflict(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields   []string
		conflict bool
	}{
		"one":                      {[]string{"source.address", "10.0.0.5"}, false},
		"the same":                 {[]string{"source.address", "10.0.0.5", "client.address", "10.0.0.5"}, false},
		"the same, with a port":    {[]string{"source.address", "10.0.0.5", "client.address", "10.0.0.5:443"}, false},
		"the same, mapped":         {[]string{"source.address", "10.0.0.5", "srcip", "::ffff:10.0.0.5"}, false},
		"different":                {[]string{"source.address", "10.0.0.5", "client.address", "203.0.113.9"}, true},
		"different raw names":      {[]string{"srcip", "10.0.0.5", "client.address", "203.0.113.9"}, true},
		"different, ECS":           {[]string{"source.address", "10.0.0.5", "client.ip", "203.0.113.9"}, true},
		"nested":                   {[]string{"event", `{"event_type":"x","source":{"address":"10.0.0.5"},"client":{"address":"203.0.113.9"}}`}, true},
		"nested and flat":          {[]string{"event", `{"event_type":"x","source.address":"10.0.0.5","client":{"ip":"203.0.113.9"}}`}, true},
		"a name beside an address": {[]string{"source.address", "10.0.0.5", "client.address", "host.example.com"}, false},
		"another kind of address":  {[]string{"source.address", "10.0.0.5", "remote_addr", "203.0.113.9"}, false},
	} {
		e := decode(t, wire.DecoderOptions{}, append([]string{"event_type", "x"}, c.fields...)...)
		if e.AddressConflict != c.conflict || e.Scope("ip") != "10.0.0.5" {
			t.Errorf("%s: conflict %v, %v", name, e.AddressConflict, e.Scopes)
		}
	}
	e := decode(t, wire.DecoderOptions{}, "event_type", "x", "source.address", "-", "client.address", "203.0.113.9")
	if e.AddressConflict || e.Scope("ip") != "203.0.113.9" {
		t.Errorf("a placeholder: conflict %v, %v", e.AddressConflict, e.Scopes)
	}
}

// TestDecodePlaceholders: what stands for the lack of a value is not a scope, under no name, and no
// ID of an event.
func TestDecodePlaceholders(t *testing.T) {
	t.Parallel()
	tenant := wire.DecoderOptions{Scopes: []wire.ScopeSpec{{Name: "tenant", Attributes: []string{"tenant.id", "org"}}}}
	const nilUUID = "00000000-0000-0000-0000-000000000000"
	for _, text := range []string{
		"None", "none", "NONE", "null", "undefined", "nil", "NaN", "nan", "-", "anonymous", "AnonymousUser", " None ", "<nil>", "(null)", nilUUID,
	} {
		e := decode(t, tenant, "event_type", "x", "user.id", text, "username", text, "session_id", text, "http.route", text, "tenant.id", text, "org", text, "event_id", text)
		if len(e.Scopes) != 0 || e.Member != entryID {
			t.Errorf("%q: %v, member %q", text, e.Scopes, e.Member)
		}
		wantText(t, e, "user.id", text)
	}
	for _, text := range []string{"0", "0.0", "-0", "00000000"} {
		e := decode(t, tenant, "event_type", "x", "user.id", text, "session.id", text, "tenant.id", text, "user.name", text, "event_id", text)
		if e.Scope("user")+e.Scope("session")+e.Scope("tenant") != "" || e.Scope("username") != text || e.Member != entryID {
			t.Errorf("%q: %v, member %q", text, e.Scopes, e.Member)
		}
	}
	for doc, want := range map[string]string{
		`{"event_type":"x","event_id":0}`: "", `{"event_type":"x","user.id":0}`: "", `{"event_type":"x","user":{"id":null}}`: "",
		`{"event_type":"x","user.id":"None","user_id":"7"}`: "7", `{"event_type":"x","user":{"id":0},"actor":{"id":"7"}}`: "7",
		`{"event_type":"x","user_id":"null","actor.id":"7"}`: "7", `{"event_type":"x","user.id":"Nonesuch"}`: "Nonesuch", `{"event_type":"x","user.id":"-7"}`: "-7",
		`{"event_type":"x","user.id":"0x0"}`: "0x0", `{"event_type":"x","user.id":"007"}`: "007", `{"event_type":"x","user.id":10}`: "10", `{"event_type":"x","user.id":"anonymous@example.com"}`: "anonymous@example.com",
		`{"event_type":"x","user.id":"00000000-0000-0000-0000-000000000001"}`: "00000000-0000-0000-0000-000000000001", `{"event_type":"x","user.id":"0.0.0"}`: "0.0.0",
	} {
		e := decode(t, wire.DecoderOptions{}, "event", doc)
		if e.Scope("user") != want || e.Member != entryID {
			t.Errorf("%s: user %q, want %q; member %q", doc, e.Scope("user"), want, e.Member)
		}
	}
	if e := decode(t, tenant, "event_type", "x", "tenant.id", "None", "org", "o"); e.Scope("tenant") != "o" {
		t.Errorf("the attribute after a placeholder: %v", e.Scopes)
	}
	own := wire.DecoderOptions{Placeholders: []string{"nobody"}}
	if e := decode(t, own, "event_type", "x", "user.id", "NoBody", "user.name", "None"); e.Scope("user") != "" || e.Scope("username") != "None" {
		t.Errorf("placeholders of their own: %v", e.Scopes)
	}
	if e := decode(t, wire.DecoderOptions{Placeholders: []string{}}, "event_type", "x", "user.id", "None"); e.Scope("user") != "None" {
		t.Errorf("no placeholders: %v", e.Scopes)
	}
}

// TestDecodeTextThatLooksLikeJSONStaysText: what a client may choose to be called is text, in a
// flat entry too.
func TestDecodeTextThatLooksLikeJSONStaysText(t *testing.T) {
	t.Parallel()
	for _, name := range []string{`{"a":1}`, `["eve"]`, `[1]`, `{}`} {
		e := decode(t, wire.DecoderOptions{}, "event_type", "x", "user.name", name, "session_id", name, "url.path", name, "note", name)
		if e.Scope("username") != name || e.Scope("session") != name || e.Text("url.path") != name || e.Text("note") != "" {
			t.Errorf("%s: %v, %v", name, e.Scopes, e.Attrs)
		}
	}
}

// TestDecodeQuotedValues: where a serialiser quoted every value, all are what they were.
func TestDecodeQuotedValues(t *testing.T) {
	t.Parallel()
	for _, fields := range [][]string{
		{"event_type", `"auth.login.failed"`, "source.address", `"203.0.113.9"`, "user.name", `"ev\"e"`, "n", "5", "_class", "com.shop.Audit"},
		{"event_type", `'auth.login.failed'`, "source.address", `'203.0.113.9'`, "user.name", `"ev\"e"`, "n", "5", "_class", "com.shop.Audit"},
		{"event_type", `b'auth.login.failed'`, "source.address", `b'203.0.113.9'`, "user.name", `ev"e`, "n", "5", "_class", "com.shop.Audit"},
	} {
		e := decode(t, wire.DecoderOptions{}, fields...)
		if e.Type != "auth.login.failed" || e.Scope("ip") != "203.0.113.9" || e.Scope("username") != `ev"e` || e.Text("n") != "5" || e.Text("_class") != "com.shop.Audit" || e.Truncated {
			t.Errorf("%q: %+v", fields, e)
		}
	}
	plain := decode(t, wire.DecoderOptions{}, "event_type", "x", "user.name", `"eve"`)
	if plain.Scope("username") != `"eve"` {
		t.Errorf("a user of that name: %v", plain.Scopes)
	}
}

// TestDecodeSerialisedDocumentsEqualObjects: a body says the same as an object and as the object's
// text, however often that was serialised.
func TestDecodeSerialisedDocumentsEqualObjects(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]string{
		"object":        {"event", `{"event_type":"x","request.body":{"order":{"total":20000}}}`},
		"text":          {"event", `{"event_type":"x","request.body":"{\"order\":{\"total\":20000}}"}`},
		"text of text":  {"event", `{"event_type":"x","request.body":"\"{\\\"order\\\":{\\\"total\\\":20000}}\""}`},
		"nested text":   {"event", `{"event_type":"x","request":{"body":"{\"order\":{\"total\":20000}}"}}`},
		"flat":          {"event_type", "x", "request.body", `{"order":{"total":20000}}`},
		"flat text":     {"event_type", "x", "request.body", `"{\"order\":{\"total\":20000}}"`},
		"record":        {"event", `{"event_name":"x","attributes":{"request.body":"{\"order\":{\"total\":20000}}"}}`},
		"with NaN":      {"event_type", "x", "request.body", `{"order":{"total":20000,"tax":NaN}}`},
		"document text": {"event", `"{\"event_type\":\"x\",\"request.body\":{\"order\":{\"total\":20000}}}"`},
		"message":       {"message", `{"event_type":"x","request.body":{"order":{"total":20000}}}`, "offset", "5"},
	} {
		e := decode(t, wire.DecoderOptions{}, fields...)
		body, ok := e.Get("request.body")
		order, _ := body.(map[string]any)["order"].(map[string]any)
		if !ok || order["total"] == nil || e.Type != "x" {
			t.Errorf("%s: %v", name, e.Attrs)
		}
	}
	e := decode(t, wire.DecoderOptions{}, "event", `{"event_type":"x","request.body":"{not json","changed_fields":"[\"email\"]","note":"{\"a\":1}"}`)
	wantText(t, e, "request.body", "{not json")
	wantText(t, e, "note", `{"a":1}`)
	if v, _ := e.Get("changed_fields"); len(v.([]any)) != 1 {
		t.Errorf("changed_fields = %v", v)
	}
}
