package consumer

const (
	// retryBatches is how many batches wait for a retry in memory.
	retryBatches = 4

	// backlogBatches is how many batches may be pending in all, most of them in Redis only, before
	// reading stops.
	backlogBatches = 64
)

// A backpressure decides when a read loop takes on no more entries. It belongs to the read loop's
// goroutine.
type backpressure struct {
	batchSize   int
	outOfMemory bool // Redis refused a write for lack of memory
}

// observe notes whether err says that Redis is out of memory.
func (b *backpressure) observe(err error) {
	b.outOfMemory = b.outOfMemory || isOutOfMemory(err)
}

// reset forgets what was observed: the next batch shows whether Redis has memory again.
func (b *backpressure) reset() { b.outOfMemory = false }

// hasCapacity reports whether entries may be recovered and claimed, with so many waiting for a
// retry: they may have to wait too. New entries may take the rest of the memory.
func (b *backpressure) hasCapacity(waiting int) bool {
	return waiting < retryBatches/2*b.batchSize && (waiting == 0 || !b.outOfMemory)
}

// paused reports whether reading must stop, with so many entries waiting for a retry and so many
// not yet fetched: there are too many, or Redis has no memory for what handling them writes, and
// would go on filling the pending list.
func (b *backpressure) paused(waiting, backlog int) bool {
	return waiting > 0 && b.outOfMemory || waiting+backlog >= backlogBatches*b.batchSize
}

// fits reports whether so many entries can wait for a retry in memory.
func (b *backpressure) fits(waiting int) bool { return waiting <= retryBatches*b.batchSize }
