package backends

import (
	"context"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Contradictions returns the active blocks that the configuration's allowlist contradicts,
// which ingress does not enforce: at most limit, or all if that is 0.
func (s *Stores) Contradictions(ctx context.Context, limit int) ([]checker.Block, error) {
	if len(s.cfg.Allowlist) == 0 {
		return nil, nil
	}
	blocks, err := s.Blocks.List(ctx, 0)
	if err != nil {
		return nil, err
	}
	var found []checker.Block
	for _, b := range blocks {
		if s.cfg.Policy.Allowlist.Holds(b.Scope, &event.Event{}) {
			if found = append(found, b); len(found) == limit {
				break
			}
		}
	}
	return found, nil
}
