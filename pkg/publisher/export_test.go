package publisher

// Encode is what becomes of an event in its entry.
func Encode(e Event) ([]byte, error) { return e.encode() }
