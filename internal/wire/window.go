package wire

// Window is the log of the window that the spec called id keeps for group.
func (k Keys) Window(id, group string) string {
	return k.Prefix + ":window:" + id + ":" + keyValue(group)
}

// WindowClears is the sorted set of the clears that the window of id and group
// remembers: the tag of each, scored by its time in milliseconds.
func (k Keys) WindowClears(id, group string) string {
	return k.Prefix + ":clears:" + id + ":" + keyValue(group)
}

// WindowTags is the sorted set of the tags that members of windows of id have had,
// scored by when that was last written.
func (k Keys) WindowTags(id string) string { return k.Prefix + ":tags:" + id }
