package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// emitted is the enforcement events by kind, each enforcement.id once.
type emitted struct {
	cursor string
	last   map[string]string // the ID that was emitted last, by event, rule and whom it is about
	blocks map[string]int    // block_applied by rule
	alerts map[string]int    // by rule
}

func newEmitted() emitted {
	return emitted{cursor: "0", last: map[string]string{}, blocks: map[string]int{}, alerts: map[string]int{}}
}

// read reads enforcement events before their stream drops them, until ctx ends.
func (s *soak) read(ctx context.Context) {
	ticks := time.NewTicker(200 * time.Millisecond)
	defer ticks.Stop()
	for ctx.Err() == nil {
		<-ticks.C
		if err := s.readOnce(); err != nil {
			s.wrong("read enforcement events: %v", err)
			return
		}
	}
}

// readOnce reads what has come since the last time.
func (s *soak) readOnce() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := s.redis.Client.XRange(ctx, enforcement, "("+s.emitted.cursor, "+").Result()
	if err != nil {
		return err
	}
	for _, e := range entries {
		s.emitted.cursor = e.ID
		var event struct {
			Name       string `json:"event_name"`
			Attributes struct {
				ID         string `json:"enforcement.id"`
				Rule       string `json:"security_rule.name"`
				ScopeType  string `json:"scope.type"`
				ScopeValue string `json:"scope.value"`
				Source     string `json:"source.address"`
			}
		}
		text, _ := e.Values["event"].(string)
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			return fmt.Errorf("entry %s: %w", e.ID, err)
		}
		a := event.Attributes
		about := event.Name + " " + a.Rule + " " + a.ScopeType + ":" + a.ScopeValue + " " + a.Source
		if s.emitted.last[about] == a.ID {
			continue
		}
		s.emitted.last[about] = a.ID
		switch event.Name {
		case "audit.enforcement.block_applied":
			s.emitted.blocks[a.Rule]++
		case "audit.enforcement.alert":
			s.emitted.alerts[a.Rule]++
		}
	}
	return nil
}
