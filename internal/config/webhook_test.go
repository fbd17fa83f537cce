package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
)

func TestWebhooks(t *testing.T) {
	t.Parallel()
	c := load(t, `
events:
  otlp: true
  webhooks:
  - url: "https://u:${PW}@example.com/${PW}?t=${PW}"
    secret: "${PW}"
    events: [audit.enforcement.block_*, audit.enforcement.alert]
    timeout: 250ms
  - {url: "http://127.0.0.1:8000"}
`, "PW="+secret)
	first, second := c.Events.Webhooks[0], c.Events.Webhooks[1]
	if string(first.URL) != "https://u:hunter2@example.com/hunter2?t=hunter2" || string(first.Secret) != secret || first.Timeout != 250*time.Millisecond || !c.Events.OTLP {
		t.Errorf("first is %q, %q, %s", string(first.URL), string(first.Secret), first.Timeout)
	}
	if second.Timeout != 5*time.Second || second.Secret != "" {
		t.Errorf("second is %+v", second)
	}
	for typ, want := range map[string]bool{
		wire.TypeAlert: true, wire.TypeBlockApplied: true, wire.TypeBlockRevoked: true, wire.TypeBlocked: false, wire.TypeEvaluationFailed: false,
	} {
		if first.Accepts(typ) != want || !second.Accepts(typ) {
			t.Errorf("%s: %t and %t", typ, first.Accepts(typ), second.Accepts(typ))
		}
	}
	var printed bytes.Buffer
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("configured", "config", c, "webhook", first, "url", first.URL, "secret", first.Secret)
	_, _ = fmt.Fprintf(&printed, "%v %+v %#v %s %q %s", first, first, first, first.URL, first.Secret, c.Effective())
	if strings.Contains(printed.String(), secret) || !strings.Contains(printed.String(), "https://example.com/xxxxx") {
		t.Errorf("printed as %s", printed.String())
	}
	if again := load(t, c.Effective()); again.Effective() != c.Effective() {
		t.Errorf("reads back as\n%s\nnot\n%s", again.Effective(), c.Effective())
	}
}
