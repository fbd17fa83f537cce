// Package deadletter keeps stream entries that could not be handled in a stream of their own, the
// dead-letter stream: a consumer writes them with a [Writer], and an operator lists, edits,
// requeues and purges them with a [Queue].
package deadletter

// maxScriptFields is how many names and values a script can add as an entry: Lua unpacks at most
// 8,000 values.
const maxScriptFields = 4000
