package chaos

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// unblockSome has an operator unblock an address and a user, if any are blocked. Whatever is delivered again from then
// on, they stay so.
func (w *world) unblockSome(random *rand.Rand) {
	for _, kind := range []string{"ip:", "user:"} {
		blocked := slices.DeleteFunc(slices.Sorted(maps.Keys(w.oracle.scopes)), func(name string) bool {
			s := w.oracle.scopes[name]
			return !strings.HasPrefix(name, kind) || !s.must || s.unblocked
		})
		if len(blocked) == 0 {
			continue
		}
		// Mostly somebody of late, whose entries the stream still has.
		name := blocked[len(blocked)-1-random.IntN(min(len(blocked), 20))]
		w.line.add("an operator unblocks %s", name)
		if err := w.command("unblock", strings.TrimSuffix(kind, ":"), strings.TrimPrefix(name, kind), "--reason", "chaos"); err != nil {
			w.fail("%v", err)
		}
		w.oracle.scopes[name].unblocked = true
	}
}
