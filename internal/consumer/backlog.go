package consumer

// A backlog counts the entries that are pending for this consumer but not in memory: left by a
// process of the same name, lost with a reply, or more than fit. It belongs to the read loop's
// goroutine.
type backlog struct {
	entries int    // about how many
	after   string // the last entry recovered; empty to begin at the first
}

// add counts entries that are left in Redis.
func (b *backlog) add(entries int) { b.entries += entries }

// expect counts at least one entry.
func (b *backlog) expect() { b.entries = max(b.entries, 1) }

// restart has recovery begin at the first entry, since a reply may have been lost with entries in
// it.
func (b *backlog) restart() {
	b.expect()
	b.rewind()
}

// rewind has recovery begin at the first entry, if there is anything to recover.
func (b *backlog) rewind() { b.after = "" }

// advance takes a page of recovered entries, whose last is given, from the count. There may be
// more.
func (b *backlog) advance(last string, entries int) {
	b.after = last
	b.entries = max(b.entries-entries, 1)
}

// clear says that nothing is left.
func (b *backlog) clear() { *b = backlog{} }
