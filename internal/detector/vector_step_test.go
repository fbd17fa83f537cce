package detector

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/pkg/checker"
)

// step carries one step out and returns what came of it.
func (r *vectorRun) step(s *vectorStep) vectorResult {
	r.t.Helper()
	r.advance(r.c.time(s.At))
	if r.c.Config.PermanentTier {
		r.keep()
	}
	r.matches, r.emitted, r.blocks.applied = nil, nil, nil
	var got vectorResult
	switch {
	case s.Event != nil:
		got.Error = r.publish(r.pipeline, s.Event)
	case s.Pre != nil:
		got = r.pre(s.Pre)
	case s.Request != nil:
		got = r.request(s)
	case s.Check != nil:
		got = r.check(s.Check)
	case s.Block != nil:
		got = r.block(s)
	case s.Unblock != nil:
		got = r.unblock(s)
	case s.Redis != nil:
		args := make([]any, len(s.Redis))
		for i, a := range s.Redis {
			args[i] = a
		}
		if err := r.raw.Do(r.t.Context(), args...).Err(); err != nil {
			r.t.Fatal(err)
		}
	default:
		r.t.Fatalf("unknown step %s", mustJSON(s))
	}
	got.Matches, got.Emitted, got.Applied = r.matches, r.emitted, r.blocks.applied
	return got
}

// advance sets all clocks.
func (r *vectorRun) advance(to time.Time) {
	if d := to.Sub(r.clock); d > 0 {
		// A key with a TTL of d lives until after d, in Redis as in the library.
		r.redis.FastForward(d - time.Nanosecond)
	}
	r.clock = to
	r.redis.SetTime(to)
}

// publish passes an event to the pipeline, as one entry.
func (r *vectorRun) publish(p *Pipeline, attributes map[string]json.RawMessage) string {
	r.t.Helper()
	raw, err := json.Marshal(attributes)
	if err != nil {
		r.t.Fatal(err)
	}
	r.entries++
	r.userName = firstText(attributes, "user.name")
	entry := consumer.Entry{
		Stream: "audit:events", ID: fmt.Sprintf("%d-%d", r.clock.UnixMilli(), r.entries), Fields: []string{"event", string(raw)}, Deliveries: 1,
	}
	verdicts, err := p.Handle(r.t.Context(), nil, []consumer.Entry{entry})
	if err != nil {
		r.t.Fatalf("handle: %v", err)
	}
	if verdicts[0].Status == consumer.Dead {
		return verdicts[0].Reason
	}
	if verdicts[0].Status != consumer.Done {
		r.t.Fatal("the entry was left pending")
	}
	return ""
}

func firstText(attributes map[string]json.RawMessage, names ...string) string {
	for _, name := range names {
		var text string
		if json.Unmarshal(attributes[name], &text) == nil && text != "" {
			return text
		}
	}
	return ""
}

// pre is what the library evaluated inside a request. Here it comes over the
// stream, and what it leads to is seen at the next look-up (deviation 16).
func (r *vectorRun) pre(attributes map[string]json.RawMessage) vectorResult {
	r.t.Helper()
	event := map[string]json.RawMessage{"event_type": json.RawMessage(`"audit.http.request.pre"`)}
	for k, v := range attributes {
		event[k] = v
	}
	var got vectorResult
	got.Error = r.publish(r.safe, event)
	if len(r.blocks.applied) > 0 {
		a := r.blocks.applied[0]
		got.Deny = r.lookup([]checker.Scope{{Type: a.ScopeType, Value: a.ScopeValue}}, "")
	}
	return got
}

// request is a whole request at ingress: who is it, is it blocked, and if not,
// the event that reports it.
func (r *vectorRun) request(s *vectorStep) vectorResult {
	r.t.Helper()
	req := s.Request
	var forwarded []string
	if req.XFF != "" {
		forwarded = []string{req.XFF}
	}
	subject := checker.Subject{User: req.UserID, Path: req.Path}
	if r.c.Config.EmitSessionID {
		subject.Session = req.SessionID
	}
	if addr, ok := r.proxies.ClientAddr(req.RemoteAddr, forwarded); ok {
		subject.IP = addr
	}
	decision := r.checker.Check(r.t.Context(), subject)
	if decision.Blocked {
		return vectorResult{Deny: &vectorDeny{decision.StatusCode, decision.Message}}
	}
	if !r.c.Config.EvalSafeOnIngress {
		return vectorResult{}
	}
	event := map[string]json.RawMessage{}
	for name, value := range map[string]string{"srcip": ipText(subject), "path": req.Path, "user_id": req.UserID, "session_id": subject.Session} {
		if value != "" {
			event[name], _ = json.Marshal(value)
		}
	}
	return r.pre(event)
}

func ipText(s checker.Subject) string {
	if !s.IP.IsValid() {
		return ""
	}
	return s.IP.String()
}

func (r *vectorRun) lookup(scopes []checker.Scope, path string) *vectorDeny {
	subject := checker.Subject{Path: path}
	for _, scope := range scopes {
		switch scope.Type {
		case checker.ScopeIP:
			subject.IP, _ = checker.ParseAddr(scope.Value)
		case checker.ScopeUser:
			subject.User = scope.Value
		case checker.ScopeSession:
			subject.Session = scope.Value
		}
	}
	d := r.checker.Check(r.t.Context(), subject)
	if !d.Blocked {
		return nil
	}
	return &vectorDeny{d.StatusCode, d.Message}
}

// check asks for scopes in the order given; the first that is blocked answers.
func (r *vectorRun) check(pairs [][2]string) vectorResult {
	r.t.Helper()
	scopes := make([]checker.Scope, len(pairs))
	for i, p := range pairs {
		scopes[i] = checker.Scope{Type: p[0], Value: p[1]}
		if canonical, ok := checker.NewScope(p[0], p[1]); ok {
			scopes[i] = canonical
		}
	}
	blocks, err := r.blocks.Lookup(r.t.Context(), scopes)
	if err != nil {
		r.t.Fatalf("look up: %v", err)
	}
	for i, scope := range scopes {
		for _, b := range blocks {
			if b.Scope == scope && b.ActiveAt(r.clock) {
				return vectorResult{Check: &vectorEntry{pairs[i][0], pairs[i][1], b.Rule, b.StatusCode, b.Message}}
			}
		}
	}
	return vectorResult{}
}

func (r *vectorRun) block(s *vectorStep) vectorResult {
	r.t.Helper()
	_, err := r.operator.Block(r.t.Context(), operator.BlockRequest{
		Scope: checker.Scope{Type: s.Block.ScopeType, Value: s.Block.scopeValue()}, TTL: time.Duration(s.Block.TTL) * time.Second,
		Reason: s.Block.Reason, By: s.Block.Actor, StatusCode: s.Block.StatusCode, Message: s.Block.Message, Metadata: s.Block.Metadata,
	})
	if err != nil {
		return vectorResult{Error: err.Error()}
	}
	return vectorResult{}
}

func (r *vectorRun) unblock(s *vectorStep) vectorResult {
	r.t.Helper()
	lifted, err := r.operator.Unblock(r.t.Context(), operator.UnblockRequest{
		Scope: checker.Scope{Type: s.Unblock.ScopeType, Value: strings.TrimSpace(s.Unblock.ScopeValue)}, By: s.Unblock.RevokedBy, Reason: s.Unblock.Reason,
	})
	if err != nil {
		r.t.Fatalf("unblock: %v", err)
	}
	n := len(lifted)
	return vectorResult{Count: &n}
}
