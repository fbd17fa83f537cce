package benign

// An outcome is what must come of a history.
type outcome struct {
	matches map[string]int  // by rule
	blocked map[string]bool // addresses
}

const span = 5 * 60 * 1000 // ms, of every window

// A fact is one thing that counts in a window.
type fact struct {
	at     int64
	member string // what is counted once; "" counts always
	tag    string // whose success takes it back
}

// recount judges a history in order, by the definition, over everything there ever was in each
// window.
func recount(history []occurrence) outcome {
	out := outcome{matches: map[string]int{}, blocked: map[string]bool{}}
	failures, errors, paths := map[string][]fact{}, map[string][]fact{}, map[string][]fact{}
	judge := func(rule, address string, size, threshold int) {
		if size >= threshold {
			out.matches[rule]++
			out.blocked[address] = true
		}
	}
	for i := range history {
		o := &history[i]
		switch o.kind {
		case failed:
			failures[o.address] = append(failures[o.address], fact{at: o.at, tag: o.user})
			judge("brute_force_login", o.address, size(failures[o.address], o.at), 5)
		case succeeded:
			failures[o.address] = without(failures[o.address], o.user)
		case clientError:
			errors[o.address] = append(errors[o.address], fact{at: o.at})
			judge("repeated_client_error", o.address, size(errors[o.address], o.at), 20)
		case viewed:
			if o.path != o.route {
				key := o.address + o.route
				paths[key] = append(paths[key], fact{at: o.at, member: o.path})
				judge("resource_enumeration", o.address, size(paths[key], o.at), 20)
			}
		}
	}
	return out
}

// size is how many facts are less than a span before at, those of one member once.
func size(facts []fact, at int64) int {
	n, seen := 0, map[string]bool{}
	for i := len(facts) - 1; i >= 0 && facts[i].at > at-span; i-- {
		if m := facts[i].member; m == "" {
			n++
		} else if !seen[m] {
			seen[m] = true
			n++
		}
	}
	return n
}

func without(facts []fact, tag string) []fact {
	var left []fact
	for _, f := range facts {
		if f.tag != tag {
			left = append(left, f)
		}
	}
	return left
}
