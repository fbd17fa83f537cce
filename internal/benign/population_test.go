package benign

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// An occurrence is an event, before it is an entry.
type occurrence struct {
	at      int64 // ms
	kind    string
	address string
	user    string
	route   string
	path    string
}

const (
	failed      = "auth.login.failed"
	succeeded   = "auth.login.success"
	viewed      = "http.response.success"
	clientError = "http.response.client_error"
)

// fields are the occurrence's as an application publishes them.
func (o *occurrence) fields() []any {
	f := []any{"event_type", o.kind, "source.address", o.address, "user.name", o.user}
	if o.kind == clientError {
		f = append(f, "http.response.status_code", "404")
	}
	if o.path != "" {
		f = append(f, "http.route", o.route, "url.path", o.path)
	}
	return f
}

const (
	homes         = 5000
	smallOffice   = 300
	largeOffice   = 5000
	eventsPerHour = 1_000_000 / 24
	perVisit      = 17 // events, about
	mistypes      = 0.03
)

// A population makes the events of a period.
type population struct {
	random *rand.Rand
	begin  int64 // ms
	period int64 // ms
	made   []occurrence
}

// populate returns about n events, in order, the last of them before end.
func populate(seed uint64, n int, end time.Time) []occurrence {
	period := time.Hour * time.Duration(n) / eventsPerHour
	p := &population{
		random: rand.New(rand.NewPCG(seed, 1)),
		begin:  end.Add(-period).UnixMilli(), period: (period - 15*time.Minute).Milliseconds(),
	}
	p.attack()
	p.crawl()
	for from := p.begin; from < p.begin+p.period-rushHour; from += 2 * rushHour {
		p.rush(from, "198.51.100.2", "small", smallOffice, 270_000)
	}
	if p.period > rushHour {
		p.rush(p.begin+p.period/2, "198.51.100.1", "large", largeOffice, rushHour)
	}
	for len(p.made) < n {
		p.visit()
	}
	slices.SortStableFunc(p.made, func(a, b occurrence) int { return cmp.Compare(a.at, b.at) })
	return p.made
}

func (p *population) add(at int64, kind, address, user string) {
	p.made = append(p.made, occurrence{at: at, kind: kind, address: address, user: user})
}

func (p *population) view(at int64, address, user, route, path string) {
	p.made = append(p.made, occurrence{at: at, kind: viewed, address: address, user: user, route: route, path: path})
}

// visit has a person come, log in and look around.
func (p *population) visit() {
	start := p.begin + p.random.Int64N(p.period)
	var address, user string
	office := false
	switch share := p.random.IntN(100); {
	case share < 12:
		address, user, office = "198.51.100.1", fmt.Sprint("large", p.random.IntN(largeOffice)), true
		if p.random.IntN(2) == 0 { // in the morning
			start = p.begin + p.period/3 + int64(p.random.NormFloat64()*float64(p.period)/40)
		}
	case share < 15:
		address, user, office = "198.51.100.2", fmt.Sprint("small", p.random.IntN(smallOffice)), true
	default:
		home := p.random.IntN(homes)
		address, user = fmt.Sprintf("203.0.%d.%d", home/250, 1+home%250), fmt.Sprintf("home%d-%d", home, p.random.IntN(1+home%3))
	}
	at := p.login(start, address, user)
	for range 5 + p.random.IntN(2*perVisit-10) {
		at += 1000 + p.random.Int64N(20_000)
		switch what := p.random.IntN(1000); {
		case what < 10 && !office:
			p.add(at, clientError, address, user)
		case what < 300 && !office:
			p.view(at, address, user, "/orders/{id}", fmt.Sprint("/orders/", p.random.IntN(4)))
		default:
			p.view(at, address, user, "/home", "/home")
		}
	}
}

// login has a person log in, perhaps after mistyping, and returns when he has.
func (p *population) login(at int64, address, user string) int64 {
	for range 3 {
		if p.random.Float64() >= mistypes {
			break
		}
		p.add(at, failed, address, user)
		at += 2000 + p.random.Int64N(3000)
	}
	p.add(at, succeeded, address, user)
	return at
}

const rushHour = 25 * 60 * 1000 // ms

// rush has everyone in an office log in within so many milliseconds.
func (p *population) rush(from int64, address, name string, people int, within int64) {
	for i := range people {
		p.login(from+p.random.Int64N(within), address, fmt.Sprint(name, i))
	}
}

// crawl has crawlers enumerate all the time, a little faster than is allowed.
func (p *population) crawl() {
	for i := range 5 {
		for at, n := p.begin, 0; at < p.begin+p.period; at, n = at+14_000, n+1 {
			p.view(at+int64(i), fmt.Sprintf("192.0.2.%d", 201+i), "crawler", "/orders/{id}", fmt.Sprint("/orders/", n))
		}
	}
}

// attack has attackers do as much as is just enough to be caught, or just not.
func (p *population) attack() {
	for i := range 20 {
		start := p.begin + p.random.Int64N(p.period)
		address := fmt.Sprintf("192.0.2.%d", 1+i)
		for j := range 5 + i%8 { // failures on others' accounts, and logins to his own between them
			at := start + int64(j)*20_000
			p.add(at, failed, address, fmt.Sprint("victim", i, "-", j))
			if i%2 == 0 {
				p.add(at+100, succeeded, address, fmt.Sprint("own", i, "-", j%3))
			}
		}
		for j := range 4 { // too few
			p.add(start+int64(j)*74_000, failed, fmt.Sprintf("192.0.2.%d", 101+i), fmt.Sprint("victim", j))
		}
		for j := range 20 + i {
			p.view(start+int64(j)*5000, fmt.Sprintf("192.0.2.%d", 41+i), "crawler", "/orders/{id}", fmt.Sprint("/orders/", 1000+j))
			p.add(start+int64(j)*7000, clientError, fmt.Sprintf("192.0.2.%d", 61+i), "scanner")
		}
		for j := range 19 { // too few
			p.view(start+int64(j)*5000, fmt.Sprintf("192.0.2.%d", 141+i), "reader", "/orders/{id}", fmt.Sprint("/orders/", j))
		}
	}
}
