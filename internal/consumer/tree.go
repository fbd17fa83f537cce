package consumer

import "fmt"

// This file reads replies that go-redis has taken apart already: those of
// XAUTOCLAIM, and of an XREADGROUP that a Cluster redirected.

// readTree is [parseRead] of such a reply.
func readTree(reply any) ([]Entry, error) {
	if reply == nil {
		return nil, nil
	}
	streams, ok := reply.([]any)
	if !ok || len(streams) != 1 {
		return nil, fmt.Errorf("%w: no list of one stream", errReply)
	}
	pair, ok := streams[0].([]any)
	if !ok || len(pair) != 2 {
		return nil, fmt.Errorf("%w: no stream", errReply)
	}
	stream, ok := pair[0].(string)
	if !ok {
		return nil, fmt.Errorf("%w: a stream without a name", errReply)
	}
	entries, absent, err := entriesTree(stream, pair[1])
	if err == nil && absent > 0 {
		err = fmt.Errorf("%w: %d absent entries", errReply, absent)
	}
	return entries, err
}

// A claimReply is what XAUTOCLAIM replied.
type claimReply struct {
	cursor  string   // where the next page starts; "0-0" after the last
	entries []Entry  // claimed; without their Deliveries
	deleted []string // trimmed while pending; Redis has dropped them from the pending list
	absent  int      // trimmed while pending, but Redis 6.2 doesn't say which; still pending
}

func claimTree(stream string, reply any) (claimReply, error) {
	parts, ok := reply.([]any)
	if !ok || len(parts) < 2 {
		return claimReply{}, fmt.Errorf("%w: no cursor and entries", errReply)
	}
	var c claimReply
	var err error
	if c.cursor, ok = parts[0].(string); !ok {
		return claimReply{}, fmt.Errorf("%w: no cursor", errReply)
	}
	if c.entries, c.absent, err = entriesTree(stream, parts[1]); err != nil {
		return claimReply{}, err
	}
	if len(parts) > 2 {
		c.deleted, err = stringsTree(parts[2])
	}
	return c, err
}

// entriesTree reads a list of entries, and counts the nils among them.
func entriesTree(stream string, list any) (entries []Entry, absent int, err error) {
	items, ok := list.([]any)
	if !ok {
		return nil, 0, fmt.Errorf("%w: no list of entries", errReply)
	}
	entries = make([]Entry, 0, len(items))
	for _, item := range items {
		if item == nil {
			absent++
			continue
		}
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return nil, 0, fmt.Errorf("%w: no entry", errReply)
		}
		e := Entry{Stream: stream}
		if e.ID, ok = pair[0].(string); !ok {
			return nil, 0, fmt.Errorf("%w: an entry without an ID", errReply)
		}
		if pair[1] != nil {
			if e.Fields, err = stringsTree(pair[1]); err != nil {
				return nil, 0, err
			}
			if len(e.Fields)%2 != 0 {
				return nil, 0, fmt.Errorf("%w: %d names and values", errReply, len(e.Fields))
			}
		}
		entries = append(entries, e)
	}
	return entries, absent, nil
}

// stringsTree reads a list of strings; it is never nil.
func stringsTree(list any) ([]string, error) {
	items, ok := list.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: no list", errReply)
	}
	texts := make([]string, len(items))
	for i, item := range items {
		if texts[i], ok = item.(string); !ok {
			return nil, fmt.Errorf("%w: no string", errReply)
		}
	}
	return texts, nil
}
