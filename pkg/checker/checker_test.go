package checker

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"
)

// lookupFunc is a Lookup made of a function.
type lookupFunc func(context.Context, []Scope) ([]Block, error)

func (f lookupFunc) Lookup(ctx context.Context, scopes []Scope) ([]Block, error) {
	return f(ctx, scopes)
}

// prompt is a lookupFunc that says it honours deadlines.
type prompt struct{ lookupFunc }

func (prompt) HonoursDeadline() bool { return true }

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func clock() time.Time { return t0 }

// having answers with those of its blocks that are asked for.
func having(blocks ...Block) Lookup {
	return lookupFunc(func(_ context.Context, scopes []Scope) ([]Block, error) {
		var found []Block
		for _, b := range blocks {
			for _, s := range scopes {
				if b.Scope == s {
					found = append(found, b)
				}
			}
		}
		return found, nil
	})
}

func block(typ, value string, ttl time.Duration) Block {
	b := Block{Scope: Scope{typ, value}, Rule: typ + "-rule", StatusCode: 403, Message: typ + " blocked", CreatedAt: t0}
	if ttl != 0 {
		b.ExpiresAt = t0.Add(ttl)
	}
	return b
}

var everybody = Subject{
	IP: netip.MustParseAddr("203.0.113.9"), User: "42", Username: "eve", Session: "s1",
	Extra: map[string]string{"tenant": "acme", "device": "d1"}, Path: "/x",
}

func TestCheckLooksUpEveryScopeOnce(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		subject Subject
		opts    []Option
		want    []Scope
	}{
		"default order": {everybody, nil, []Scope{
			{"user", "42"}, {"username", "eve"}, {"session", "s1"}, {"ip", "203.0.113.9"}, {"device", "d1"}, {"tenant", "acme"},
		}},
		"named types move to the front": {everybody, []Option{WithPrecedence("tenant", "ip")}, []Scope{
			{"tenant", "acme"}, {"ip", "203.0.113.9"}, {"user", "42"}, {"username", "eve"}, {"session", "s1"}, {"device", "d1"},
		}},
		"blanks are trimmed, empty values asked for nowhere": {
			Subject{User: " 42\t", Username: "  ", Extra: map[string]string{"tenant": " ", "": "x"}}, nil, []Scope{{"user", "42"}},
		},
		"mapped addresses and zones":    {Subject{IP: netip.MustParseAddr("::ffff:192.0.2.1")}, nil, []Scope{{"ip", "192.0.2.1"}}},
		"an IPv6 prefix is one scope":   {Subject{IP: netip.MustParseAddr("2001:db8::1%eth0")}, []Option{WithIPv6Prefix(64)}, []Scope{{"ip", "2001:db8::/64"}}},
		"an IPv4 address has no prefix": {Subject{IP: netip.MustParseAddr("192.0.2.1")}, []Option{WithIPv6Prefix(64)}, []Scope{{"ip", "192.0.2.1"}}},
		"a built-in type among the extra ones is asked for too, once": {
			Subject{User: "1", Extra: map[string]string{"user": "2", "ip": "[2001:DB8::2]:80", "session": "x"}, Session: "x"},
			[]Option{WithIPv6Prefix(64)},
			[]Scope{{"user", "1"}, {"user", "2"}, {"session", "x"}, {"ip", "2001:db8::/64"}},
		},
		"the default ranges, narrowest first": {
			Subject{IP: netip.MustParseAddr("203.0.113.9"), Session: "s"},
			[]Option{WithRanges(DefaultRanges4(), DefaultRanges6())},
			[]Scope{{"session", "s"}, {"ip", "203.0.113.9"}, {"ip", "203.0.113.0/24"}, {"ip", "203.0.0.0/16"}},
		},
		"ranges of IPv6": {
			Subject{IP: netip.MustParseAddr("2001:db8:1:2::3")},
			[]Option{WithRanges([]int{8}, []int{48, 128, 64, 0, 200, 64})},
			[]Scope{{"ip", "2001:db8:1:2::3"}, {"ip", "2001:db8:1:2::/64"}, {"ip", "2001:db8:1::/48"}},
		},
		"ranges beside an IPv6 prefix": {
			Subject{IP: netip.MustParseAddr("2001:db8:1:2::3")},
			[]Option{WithRanges(nil, []int{48, 64, 96}), WithIPv6Prefix(64)},
			[]Scope{{"ip", "2001:db8:1:2::/64"}, {"ip", "2001:db8:1::/48"}},
		},
		"addresses among the extra values have ranges too": {
			Subject{IP: netip.MustParseAddr("203.0.113.9"), Extra: map[string]string{"ip": "203.0.113.10:80"}},
			[]Option{WithRanges([]int{24}, nil)},
			[]Scope{{"ip", "203.0.113.9"}, {"ip", "203.0.113.0/24"}, {"ip", "203.0.113.10"}},
		},
		"more ranges than there is room for": {
			Subject{IP: netip.MustParseAddr("203.0.113.9")},
			[]Option{WithRanges([]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, nil)},
			[]Scope{
				{"ip", "203.0.113.9"},
				{"ip", "203.0.0.0/9"},
				{"ip", "203.0.0.0/8"},
				{"ip", "202.0.0.0/7"},
				{"ip", "200.0.0.0/6"},
				{"ip", "200.0.0.0/5"},
				{"ip", "192.0.0.0/4"},
				{"ip", "192.0.0.0/3"},
			},
		},
		"routes are never blocked, what is not an address is not an ip": {
			Subject{User: "1", Extra: map[string]string{"route": "/a", "ip": "unix:"}}, []Option{WithPrecedence("route")}, []Scope{{"user", "1"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked [][]Scope
			c := New(prompt{func(_ context.Context, scopes []Scope) ([]Block, error) {
				asked = append(asked, scopes)
				return nil, nil
			}}, append([]Option{WithRanges(nil, nil)}, tc.opts...)...)
			if d := c.Check(t.Context(), tc.subject); d.Blocked || d.Err != nil {
				t.Fatalf("Check = %+v, want it allowed", d)
			}
			if len(asked) != 1 || !reflect.DeepEqual(asked[0], tc.want) {
				t.Fatalf("asked %v, want once %v", asked, tc.want)
			}
		})
	}
}

func TestCheckWithoutScopesDoesNoLookup(t *testing.T) {
	t.Parallel()
	c := New(lookupFunc(func(context.Context, []Scope) ([]Block, error) {
		t.Error("the Lookup was called")
		return nil, nil
	}), WithFailClosed(regexp.MustCompile("")))
	if d := c.Check(t.Context(), Subject{Path: "/pay"}); !reflect.DeepEqual(d, Decision{}) {
		t.Fatalf("Check = %+v, want the zero Decision", d)
	}
}

func TestStrongestBlockDecides(t *testing.T) {
	t.Parallel()
	ip, session, user := block("ip", "203.0.113.9", time.Minute), block("session", "s1", 0), block("user", "42", 90500*time.Millisecond)
	lapsed := block("user", "42", time.Minute)
	lapsed.ExpiresAt = t0.Add(-1)
	cases := map[string]struct {
		blocks []Block
		opts   []Option
		want   Block
		retry  time.Duration
	}{
		"user before session before ip":           {[]Block{ip, session, user}, nil, user, 91 * time.Second},
		"session before ip":                       {[]Block{ip, session}, nil, session, 0},
		"ip alone":                                {[]Block{ip}, nil, ip, time.Minute},
		"configured precedence":                   {[]Block{user, ip, session}, []Option{WithPrecedence("ip")}, ip, time.Minute},
		"one that has lapsed doesn't count":       {[]Block{lapsed, ip}, nil, ip, time.Minute},
		"of two on a scope the one that outlasts": {[]Block{block("user", "42", time.Second), user, block("user", "42", 2*time.Second)}, nil, user, 91 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(having(tc.blocks...), append(tc.opts, WithClock(clock), WithTimeout(time.Hour))...)
			d := c.Check(t.Context(), everybody)
			want := Decision{Blocked: true, Block: tc.want, StatusCode: 403, Message: tc.want.Message, RetryAfter: tc.retry}
			if !reflect.DeepEqual(d, want) {
				t.Fatalf("Check = %+v, want %+v", d, want)
			}
		})
	}
}

// TestRangesDenyTheirAddresses: a range denies the addresses in it, after what is said of the
// address itself, whatever the lengths that were asked for: a mirror knows them all.
func TestRangesDenyTheirAddresses(t *testing.T) {
	t.Parallel()
	exact, narrow, odd := block("ip", "203.0.113.9", time.Minute), block("ip", "203.0.113.0/24", time.Minute), block("ip", "203.0.112.0/21", time.Minute)
	wide := block("ip", "203.0.0.0/16", 0)
	cases := map[string]struct {
		blocks  []Block
		subject Subject
		want    Block
	}{
		"the range":                         {[]Block{narrow}, everybody, narrow},
		"the address before its range":      {[]Block{wide, exact}, everybody, exact},
		"the narrower range first":          {[]Block{wide, narrow}, everybody, narrow},
		"a range of a length not asked for": {[]Block{odd}, everybody, odd},
		"a range of another network":        {[]Block{block("ip", "203.0.114.0/24", 0)}, everybody, Block{}},
		"a range that is not a range":       {[]Block{block("ip", "203.0.113.9/240", 0), block("user", "0.0.0.0/1", 0)}, everybody, Block{}},
		"a range of IPv6": {
			[]Block{block("ip", "2001:db8::/32", 0)}, Subject{IP: netip.MustParseAddr("2001:db8:7::1%eth0")}, block("ip", "2001:db8::/32", 0),
		},
		"of an extra address": {[]Block{narrow}, Subject{User: "1", Extra: map[string]string{"ip": "203.0.113.77"}}, narrow},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everything := lookupFunc(func(context.Context, []Scope) ([]Block, error) { return tc.blocks, nil })
			d := New(everything, WithClock(clock), WithTimeout(time.Hour)).Check(t.Context(), tc.subject)
			if d.Blocked != (tc.want.Rule != "") || !reflect.DeepEqual(d.Block, tc.want) {
				t.Fatalf("Check = %+v, want %+v", d, tc.want)
			}
		})
	}
}

// cleaner is a Lookup that may know at once that nothing is blocked.
type cleaner struct {
	lookupFunc
	clean func(Subject) bool
}

func (c cleaner) Clean(s Subject) bool { return c.clean(s) }

func TestCleanSubjectsAreNotLookedUp(t *testing.T) {
	ip := block("ip", "203.0.113.9", time.Minute)
	c := New(cleaner{having(ip).(lookupFunc), func(s Subject) bool { return s.User == "clean" }}, WithClock(clock), WithTimeout(time.Hour))
	s := everybody
	if d := c.Check(t.Context(), s); !d.Blocked {
		t.Fatalf("not said to be clean: %+v", d)
	}
	s.User = "clean"
	if d := c.Check(t.Context(), s); !reflect.DeepEqual(d, Decision{}) {
		t.Fatalf("said to be clean: %+v", d)
	}
	if n := testing.AllocsPerRun(100, func() { c.Check(context.Background(), s) }); n != 0 {
		t.Fatalf("a clean check allocates %v times", n)
	}
}

func TestBlocksOfOtherScopesAreIgnored(t *testing.T) {
	t.Parallel()
	c := New(lookupFunc(func(context.Context, []Scope) ([]Block, error) {
		return []Block{block("user", "43", 0), block("username", "42", 0)}, nil
	}), WithTimeout(time.Hour))
	if d := c.Check(t.Context(), everybody); d.Blocked || d.Err != nil {
		t.Fatalf("Check = %+v, want it allowed", d)
	}
}

func TestStatusAndMessageOfADenial(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		status  int
		message string
		opts    []Option
		want    int
		text    string
	}{
		"the block's own":               {451, "no", nil, 451, "no"},
		"none: the default":             {0, "", nil, 429, DefaultMessage},
		"none: the configured one":      {0, "", []Option{WithDenial(403, "closed")}, 403, "closed"},
		"a 200 would let the client in": {200, "no", nil, 429, "no"},
		"a redirect is not a denial":    {302, "no", []Option{WithDenial(200, "")}, 429, "no"},
		"no such status":                {999, "no", nil, 429, "no"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := Block{Scope: Scope{"user", "42"}, StatusCode: tc.status, Message: tc.message}
			d := New(having(b), append(tc.opts, WithTimeout(time.Hour))...).Check(t.Context(), everybody)
			if !d.Blocked || d.StatusCode != tc.want || d.Message != tc.text {
				t.Fatalf("Check = %+v, want %d %q", d, tc.want, tc.text)
			}
		})
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]time.Duration{
		time.Nanosecond: time.Second, time.Second: time.Second, time.Second + 1: 2 * time.Second, time.Hour: time.Hour,
	} {
		d := New(having(block("user", "42", left)), WithClock(clock), WithTimeout(time.Hour)).Check(t.Context(), everybody)
		if d.RetryAfter != want {
			t.Errorf("%s left: RetryAfter = %s, want %s", left, d.RetryAfter, want)
		}
	}
}

var errDown = errors.New("down")

func failing(context.Context, []Scope) ([]Block, error) { return nil, errDown }

func TestFailMode(t *testing.T) {
	t.Parallel()
	closed := []*regexp.Regexp{regexp.MustCompile("^/pay(/|$)"), regexp.MustCompile(`\.php$`)}
	for path, denied := range map[string]bool{
		"/": false, "/payments": false, "/x/pay": false,
		"/pay": true, "/pay/1": true, "/pay/": true, "//pay": true, "/./pay": true, "/x/../pay/1": true, "/x/..//pay": true,
		"/pay/../x": true, // as it came; a backend may not clean it
		"pay":       true, // no slash in front
		"/a.php":    true, "/a.php/": true, "/a.php/x": false,
		"": true, // not known
	} {
		for _, lookup := range []Lookup{lookupFunc(failing), prompt{failing}} {
			s := everybody
			s.Path = path
			var heard []Decision
			c := New(lookup, WithFailClosed(closed...), WithDenial(403, "closed"), WithTimeout(time.Hour),
				WithOnError(func(_ context.Context, _ Subject, d Decision) { heard = append(heard, d) }))
			d := c.Check(t.Context(), s)
			if !errors.Is(d.Err, errDown) || d.Blocked != denied || d.FailClosed != denied || d.Block.Scope != (Scope{}) || d.RetryAfter != 0 {
				t.Errorf("path %q: %+v, want denied %v", path, d, denied)
			}
			if denied && (d.StatusCode != 403 || d.Message != "closed") {
				t.Errorf("path %q: answer %d %q", path, d.StatusCode, d.Message)
			}
			if len(heard) != 1 || heard[0].Blocked != denied {
				t.Errorf("path %q: OnError heard %v", path, heard)
			}
		}
	}
}

func TestWithoutPatternsEverythingFailsOpen(t *testing.T) {
	t.Parallel()
	d := New(prompt{failing}).Check(t.Context(), Subject{User: "1"})
	if d.Blocked || !errors.Is(d.Err, errDown) {
		t.Fatalf("Check = %+v", d)
	}
}

func TestKnownBlockDeniesDespiteAnError(t *testing.T) {
	t.Parallel()
	c := New(lookupFunc(func(context.Context, []Scope) ([]Block, error) {
		return []Block{block("ip", "203.0.113.9", 0)}, errDown
	}), WithTimeout(time.Hour))
	d := c.Check(t.Context(), everybody)
	if !d.Blocked || d.Block.Scope.Type != "ip" || !errors.Is(d.Err, errDown) || d.FailClosed {
		t.Fatalf("Check = %+v", d)
	}
}

func TestFailForUnknownSubject(t *testing.T) {
	t.Parallel()
	c := New(prompt{failing}, WithFailClosed(regexp.MustCompile("^/pay")))
	if d := c.Fail(t.Context(), Subject{Path: "/x"}, errDown); d.Blocked || !errors.Is(d.Err, errDown) {
		t.Errorf("open path: %+v", d)
	}
	if d := c.Fail(t.Context(), Subject{Path: "/pay"}, errDown); !d.Blocked || d.StatusCode != DefaultStatusCode || d.Message != DefaultMessage {
		t.Errorf("closed path: %+v", d)
	}
}

func TestHooksReceiveDecisions(t *testing.T) {
	t.Parallel()
	var blocked, failed int
	hooks := []Option{
		WithOnBlocked(func(_ context.Context, s Subject, d Decision) {
			if s.User != "42" || !d.Blocked {
				t.Errorf("OnBlocked(%+v, %+v)", s, d)
			}
			blocked++
		}),
		WithOnError(func(context.Context, Subject, Decision) { failed++ }), WithTimeout(time.Hour),
	}
	New(having(block("user", "42", 0)), hooks...).Check(t.Context(), everybody)
	New(having(), hooks...).Check(t.Context(), everybody)
	New(lookupFunc(failing), hooks...).Check(t.Context(), everybody)
	if blocked != 1 || failed != 1 {
		t.Fatalf("OnBlocked ran %d times, OnError %d times; want 1 and 1", blocked, failed)
	}
}

func TestStuckLookupDoesNotHoldTheRequest(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	const slots = stallLeast - 1 // few, or the breaker spares us the rest
	var stuck sync.WaitGroup
	stuck.Add(slots)
	lookup := lookupFunc(func(context.Context, []Scope) ([]Block, error) { // ignores its context
		stuck.Done()
		<-release
		return nil, nil
	})
	c := New(lookup, WithTimeout(time.Millisecond), WithFailClosed(regexp.MustCompile("^/pay")))
	if cap(c.call.slots) != maxDetached {
		t.Fatalf("%d slots", cap(c.call.slots))
	}
	c.call.slots = make(chan struct{}, slots)
	s := everybody
	s.Path = "/pay"
	for range slots {
		if d := c.Check(t.Context(), s); !errors.Is(d.Err, context.DeadlineExceeded) || !d.Blocked {
			t.Fatalf("Check = %+v, want a timeout", d)
		}
	}
	stuck.Wait()
	if d := c.Check(t.Context(), everybody); !errors.Is(d.Err, ErrBusy) || d.Blocked {
		t.Fatalf("Check = %+v, want ErrBusy", d)
	}
	close(release)
	for len(c.call.slots) > 0 { // the slots come back with the look-ups
		runtime.Gosched()
	}
}

func TestPanickingLookupIsAnError(t *testing.T) {
	t.Parallel()
	boom := lookupFunc(func(context.Context, []Scope) ([]Block, error) { panic("boom") })
	for _, lookup := range []Lookup{boom, prompt{boom}} {
		d := New(lookup, WithTimeout(time.Hour), WithFailClosed(regexp.MustCompile("^/x"))).Check(t.Context(), everybody)
		if d.Err == nil || !d.Blocked {
			t.Errorf("Check = %+v, want a failure", d)
		}
	}
}

func TestContextOfTheLookup(t *testing.T) {
	t.Parallel()
	type key struct{}
	early := time.Now().Add(30 * time.Second)
	ctx, cancel := context.WithDeadline(context.WithValue(t.Context(), key{}, "v"), early)
	defer cancel()
	c := New(prompt{func(inner context.Context, _ []Scope) ([]Block, error) {
		cancel() // the client hangs up meanwhile
		deadline, ok := inner.Deadline()
		if !ok || deadline.Sub(early).Abs() > time.Second || inner.Value(key{}) != "v" || inner.Err() != nil {
			t.Errorf("deadline %v (want about %v), value %v, error %v", deadline, early, inner.Value(key{}), inner.Err())
		}
		return []Block{block("user", "42", 0)}, nil
	}}, WithTimeout(time.Hour))
	if d := c.Check(ctx, everybody); !d.Blocked || d.Err != nil {
		t.Fatalf("Check = %+v, want it blocked", d)
	}
	if d := c.Check(ctx, everybody); d.Blocked || !errors.Is(d.Err, context.Canceled) {
		t.Fatalf("with a context that is over: Check = %+v", d)
	}
}

func TestNewWithoutLookupPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("New(nil) did not panic")
		}
	}()
	New(nil)
}

func TestBlockStrength(t *testing.T) {
	t.Parallel()
	permanent, long, short := block("ip", "a", 0), block("ip", "a", time.Hour), block("ip", "a", time.Minute)
	order := []Block{permanent, long, short}
	for i, a := range order {
		for j, b := range order {
			if got := a.Stronger(b); got != (i < j) {
				t.Errorf("%d stronger than %d = %v", i, j, got)
			}
		}
	}
	if short.ActiveAt(t0.Add(time.Minute+1)) || !short.ActiveAt(t0.Add(time.Minute)) || !short.ActiveAt(t0) || !permanent.ActiveAt(t0.AddDate(100, 0, 0)) {
		t.Error("ActiveAt is wrong at its edge")
	}
}
