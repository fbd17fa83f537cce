package wire

// Window is the log of the window that the spec called id keeps for group.
func (k Keys) Window(id, group string) string {
	return k.Prefix + ":window:" + id + ":" + keyValue(group)
}
