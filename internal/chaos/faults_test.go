package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A fault is made in the middle of a round, and undone.
type fault struct {
	name string
	// do makes the fault and returns what undoes it, which may be nil. random is the round's.
	do maker
	// alone says that no other fault is made in the same round: it loses data, and what is lost
	// must be known.
	alone bool
}

// A maker makes a fault; see fault.do.
type maker func(ctx context.Context, w *world, random *rand.Rand) (undo func() error, err error)

// faults are all there are, in the order of the first rounds.
func faults(filter string) []fault {
	all := slices.Concat(processFaults(), redisFaults(), postgresFaults(), networkFaults(), lossFaults(),
		[]fault{memoryFault(), clockFault(), versionFault(), clusterFault()})
	return slices.DeleteFunc(all, func(f fault) bool {
		return filter != "" && !slices.ContainsFunc(strings.Split(filter, ","), func(p string) bool { return strings.HasPrefix(f.name, p) })
	})
}

// choose draws the faults of a round: each gets its turn, and half of the rounds have a second one.
// Those of processes come last, so that a worker ends, or stands still, in the midst of trouble.
func choose(all []fault, round int, random *rand.Rand) []fault {
	chosen := []fault{all[round%len(all)]}
	second := all[random.IntN(len(all))]
	if random.IntN(2) == 0 && !chosen[0].alone && !second.alone && second.name != chosen[0].name {
		chosen = append(chosen, second)
		slices.SortStableFunc(chosen, func(a, b fault) int { return strings.Compare(a.ofProcesses(), b.ofProcesses()) })
	}
	return chosen
}

func (f fault) ofProcesses() string {
	if strings.HasSuffix(f.name, " workers") {
		return "yes"
	}
	return "no"
}

// between draws a duration.
func between(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)))
}

func names(faults []fault) string {
	var out []string
	for _, f := range faults {
		out = append(out, f.name)
	}
	return fmt.Sprint(strings.Join(out, " + "))
}
