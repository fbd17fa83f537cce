// Package doctor looks at everything a detector needs, without changing anything, and says
// what is wrong with it and what to do.
package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/config"
)

// A Status is how something is.
type Status string

// What it can be: right, working but worth a second look, in the way of working.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// A Finding is one thing looked at.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do; none where all is right
}

// stepTimeout bounds one step of the examination.
const stepTimeout = 15 * time.Second

// An examination gathers findings.
type examination struct {
	cfg      *config.Config
	stores   *backends.Stores
	findings []Finding
}

func (x *examination) add(check string, status Status, advice, found string, args ...any) {
	x.findings = append(x.findings, Finding{Check: check, Status: status, Found: fmt.Sprintf(found, args...), Advice: advice})
}

func (x *examination) ok(check, found string, args ...any) { x.add(check, OK, "", found, args...) }

// Examine looks at the configuration and at the stores it names. What depends on
// something that failed isn't looked at.
func Examine(ctx context.Context, cfg *config.Config, stores *backends.Stores) []Finding {
	x := &examination{cfg: cfg, stores: stores}
	x.configuration()
	if x.step(ctx, x.redis) {
		x.step(ctx, x.acl)
		x.step(ctx, x.streams)
		x.step(ctx, x.uncounted)
		x.step(ctx, x.allowlist)
		x.step(ctx, x.clock)
	}
	if stores.Pool != nil && x.step(ctx, x.postgres) {
		x.step(ctx, x.privileges)
	}
	return x.findings
}

// step takes a step of the examination within its time, and reports whether the next ones make
// sense.
func (x *examination) step(ctx context.Context, do func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return do(ctx)
}

func (x *examination) configuration() {
	where := "defaults, environment and flags"
	if x.cfg.File != "" {
		where = x.cfg.File
	}
	x.ok("configuration", "%s: mode %s, %s, streams %s", where, x.cfg.Mode, count(len(x.cfg.Rules), "rule"), strings.Join(x.cfg.Stream.Names, ", "))
	for _, warning := range x.cfg.Warnings {
		found, advice, _ := strings.Cut(warning, "; ")
		if advice == "" {
			advice = "leave it if that is what you want"
		}
		x.add("configuration", Warn, advice, "%s", found)
	}
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
