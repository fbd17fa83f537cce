package ingress

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/wardstream/wardstream/pkg/checker"
)

// Check asks the store that o names whether the subject is blocked, once. A store that fails is an
// error, on every path: FailClosedPaths do not apply.
func Check(ctx context.Context, o Options, subject checker.Subject) (checker.Decision, error) {
	o.FailClosedPaths = nil
	if err := o.checkStore(); err != nil {
		return checker.Decision{}, err
	}
	opts, err := o.checkerOptions()
	if err != nil {
		return checker.Decision{}, err
	}
	store, err := openStore(ctx, &o, slog.New(slog.DiscardHandler))
	if err != nil {
		return checker.Decision{}, err
	}
	defer store.Close()
	if store.settings != nil {
		_ = store.settings.read(ctx) // if Redis does not answer, the look-up reports it
	}
	d := checker.New(store.lookup, append(opts, store.exempt()...)...).Check(ctx, subject)
	if d.Err != nil && !d.Blocked {
		return checker.Decision{}, fmt.Errorf("ask the store: %w", d.Err)
	}
	return d, nil
}
