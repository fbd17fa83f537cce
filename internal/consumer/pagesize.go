package consumer

// readBytes is about how much one reply should be at most; where entries are large, fewer are asked
// for.
const readBytes = 8 << 20

// A pageSize is how many entries to ask Redis for at once. It belongs to the read loop's goroutine.
type pageSize struct {
	entries int
	most    int
}

// adapt chooses the next size by the bytes and entries of a reply.
func (p *pageSize) adapt(bytes, entries int) {
	if entries > 0 {
		p.entries = min(p.most, 2*p.entries, max(readBytes/max(bytes/entries, 1), 1))
	}
}

// shrink makes it one entry, after a reply that was too large.
func (p *pageSize) shrink() { p.entries = 1 }
