package demo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// This file defines the simulated visitors of the shop and what each of them does next. It is
// deterministic: the same seed yields the same visitors with the same actions in the same order.
// Only how often an attacker is denied, and so when the next attempt comes, is
// up to Wardstream.

// An actor is a simulated client that sends requests to the shop.
type actor struct {
	name    string
	hostile bool
	address string // where from, at first
	user    string // ID of the account; "" for an actor that never logs in
	session string
	next    behaviour
}

// A behaviour says what its actor does as step n (from 0), having been denied
// so many times so far. It is called once for each n, in order.
type behaviour func(n, denied int) step

// A step is one request: the wait before it, the request, and what the shop
// would make of it.
type step struct {
	wait    time.Duration
	method  string
	path    string
	address string // where from, if not from the actor's own
	known   bool   // the actor is logged in
	hostile bool
	fields  []string // of the event the shop publishes, names and values in turn, without client and path
	note    string   // what is worth printing about it; "" is nothing
}

// The usual waits, at the full pace.
const (
	fullPace   = 20 * time.Second // a demo shorter than this is played faster
	rushed     = 250 * time.Millisecond
	unhurried  = 800 * time.Millisecond
	firstVisit = 1500 * time.Millisecond
)

// newActors makes five visitors and four attackers. One visitor shares the
// insider's address, as people in one office do.
func newActors(seed uint64) []*actor {
	r := rand.New(rand.NewPCG(seed, 0))
	hosts := r.Perm(90) // last bytes of addresses, all different, two digits each
	office := fmt.Sprintf("192.0.2.%d", 10+hosts[0])
	names := []string{"ana", "ben", "chloe", "dan", "emma", "finn", "gita", "hugo", "iris", "jon", "kim", "lea"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })

	var all []*actor
	for i := range 5 {
		a := &actor{name: names[i], address: fmt.Sprintf("192.0.2.%d", 10+hosts[1+i]), user: strconv.Itoa(1000 + r.IntN(9000))}
		switch i {
		case 0:
			a.address = office
		case 1:
			a.address = fmt.Sprintf("2001:db8::%x", 1+r.IntN(255))
		}
		a.session = sessionOf(r)
		a.next = visitor(rand.New(rand.NewPCG(seed, uint64(1+i))), a.name, i%2 == 0)
		all = append(all, a)
	}
	insider := &actor{name: "insider", hostile: true, address: office, user: strconv.Itoa(100 + r.IntN(900)), session: sessionOf(r)}
	insider.next = insiderSteps(r.IntN(500), names[0], fmt.Sprintf("198.51.100.%d", 10+hosts[6]))
	return append(all,
		&actor{name: "brute-forcer", hostile: true, address: fmt.Sprintf("203.0.113.%d", 10+hosts[7]), next: bruteForcer(names[0])},
		&actor{name: "scanner", hostile: true, address: fmt.Sprintf("203.0.113.%d", 10+hosts[8]), next: scanner(r.Perm(len(leaks())))},
		&actor{name: "crawler", hostile: true, address: fmt.Sprintf("203.0.113.%d", 10+hosts[9]), next: crawler(1 + r.IntN(5000))},
		insider,
	)
}

// guestAddress is not used by any actor: it is for a user who joins in from another terminal.
const guestAddress = "203.0.113.250"

func sessionOf(r *rand.Rand) string { return fmt.Sprintf("%08x", r.Uint32()) }

// visitor browses, logs in on the third visit or later (with a mistyped password
// first, for some), and follows a dead link now and then.
func visitor(r *rand.Rand, name string, mistypes bool) behaviour {
	login, lost := 2+r.IntN(4), 6+r.IntN(20)
	favourites := make([]int, 6) // few enough never to look like enumeration
	for i := range favourites {
		favourites[i] = 1 + r.IntN(400)
	}
	in := login
	if mistypes {
		in++
	}
	return func(n, _ int) step {
		s := page("/", "/")
		switch {
		case n == 0:
		case n == login && mistypes:
			s = logIn("auth.login.failed", name)
			s.note = "mistypes the password"
		case n == in:
			s = logIn("auth.login.success", name)
			s.note = "logs in"
		case n%40 == lost:
			s = missing("/summer-sale-2019")
			s.note = "follows a dead link"
		default:
			s = browse(r, favourites)
		}
		s.known = n >= in
		s.wait = unhurried/2 + time.Duration(r.Int64N(int64(unhurried)))
		if n == 0 {
			s.wait = time.Duration(r.Int64N(int64(firstVisit)))
		}
		return s
	}
}

func browse(r *rand.Rand, favourites []int) step {
	fixed := []string{"/", "/search", "/cart", "/offers", "/account"}
	if at := r.IntN(len(fixed) + 5); at < len(fixed) {
		return page(fixed[at], fixed[at])
	}
	return page("/products/{id}", fmt.Sprintf("/products/%d", favourites[r.IntN(len(favourites))]))
}

// bruteForcer tries one password after the other for a customer's account.
func bruteForcer(victim string) behaviour {
	return func(n, denied int) step {
		if n == 0 {
			s := page("/login", "/login")
			s.wait = 2 * time.Second
			return s
		}
		s := logIn("auth.login.failed", victim)
		s.hostile, s.wait = true, knock(2*rushed, denied)
		if n == 1 {
			s.note = "tries passwords for " + victim
		}
		return s
	}
}

// scanner asks for files that careless people leave behind.
func scanner(order []int) behaviour {
	paths := leaks()
	return func(n, denied int) step {
		s := missing(paths[order[n%len(order)]])
		s.hostile, s.wait = true, knock(rushed, denied)
		if n == 0 {
			s.wait, s.note = 3500*time.Millisecond, "looks for files left behind: "+s.path+", …"
		}
		return s
	}
}

func leaks() []string {
	var paths []string
	for _, dir := range []string{"", "/admin", "/backup", "/old", "/api", "/test"} {
		for _, file := range []string{".env", ".git/config", "wp-login.php", "phpinfo.php", "db.sql", "id_rsa", "config.bak"} {
			paths = append(paths, dir+"/"+file)
		}
	}
	return paths
}

// crawler asks for one customer after the other.
func crawler(first int) behaviour {
	return func(n, denied int) step {
		s := page("/customers/{id}", fmt.Sprintf("/customers/%d", first+n))
		s.hostile, s.wait = true, knock(rushed, denied)
		if n == 0 {
			s.wait, s.note = 5*time.Second, "walks through the customers: "+s.path+", …"
		}
		return s
	}
}

// insiderSteps are those of an employee of the shop who takes over customers' accounts,
// and who, once denied, tries again from another address.
func insiderSteps(first int, colleague, elsewhere string) behaviour {
	changes := []string{`["email"]`, `["email","password"]`, `["role"]`}
	return func(n, denied int) step {
		s := page("/backoffice/orders", "/backoffice/orders")
		s.known, s.wait = true, unhurried/2
		switch {
		case n == 0:
			s = logIn("auth.login.success", "mallory")
			s.known, s.wait, s.note = true, 6*time.Second, "logs in, at the same address as "+colleague
		case n > 3:
			s = update(first+n, changes[n%len(changes)])
			s.known, s.hostile, s.wait = true, true, knock(unhurried/2, denied)
		}
		if n == 4 {
			s.note = "changes a customer's e-mail address"
		}
		if denied >= 3 {
			s.address = elsewhere
		}
		if denied == 3 {
			s.note = "tries again from another address"
		}
		return s
	}
}

// knock is how long an attacker waits after so many denials: no one knocks
// for ever at the same pace.
func knock(usual time.Duration, denied int) time.Duration {
	return usual + min(time.Duration(denied)*usual/8, 4*usual)
}

func page(route, path string) step {
	return step{method: "GET", path: path, fields: response("http.response.success", "GET", path, 200, "http.route", route)}
}

func missing(path string) step {
	return step{method: "GET", path: path, fields: response("http.response.client_error", "GET", path, 404)}
}

func logIn(outcome, name string) step {
	return step{method: "POST", path: "/login", fields: []string{"event_type", outcome, "user.name", name}}
}

func update(customer int, fields string) step {
	path := fmt.Sprintf("/backoffice/customers/%d", customer)
	return step{method: "POST", path: path, fields: []string{
		"event_type", "model.update", "model_label", "shop.customer", "object_id", strconv.Itoa(customer), "changed_fields", fields,
	}}
}

func response(typ, method, path string, status int, more ...string) []string {
	return append([]string{
		"event_type", typ, "http.request.method", method, "url.path", path, "http.response.status_code", strconv.Itoa(status),
	}, more...)
}

// event is what the shop publishes about a step of a.
func (a *actor) event(s step) []string {
	fields := append(slices.Clip(s.fields), "source.address", a.from(s))
	if s.known {
		fields = append(fields, "user.id", a.user, "session.id", a.session)
	}
	return fields
}

// from is the address that the step's request comes from.
func (a *actor) from(s step) string {
	if s.address != "" {
		return s.address
	}
	return a.address
}
