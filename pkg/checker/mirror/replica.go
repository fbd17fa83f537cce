package mirror

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"github.com/gaissmai/bart"
	"github.com/puzpuzpuz/xsync/v4"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A replica is the blocks of one snapshot and of the changes since. Any number of goroutines read it
// without a lock; one changes it. Its zero value isn't usable: see newReplica.
type replica struct {
	complete bool // the membership hash was
	shared   bool // others read it: tables are replaced, not changed

	// Addresses and ranges that are written the one canonical way; all else, of the type ip too, is among the
	// values. Addresses have a map to themselves: to change one costs a twentieth of what it does in the table.
	addrs                     *xsync.Map[netip.Addr, *entry]
	ranges                    atomic.Pointer[bart.Table[*entry]]
	users, usernames, session *values
	others                    atomic.Pointer[map[string]*values] // by type
}

type values = xsync.Map[string, *entry]

// An entry is a block as a mirror keeps it: enough to deny and to say why, without metadata. It never changes.
type entry struct {
	id, reason     string
	told           unique.Handle[told]
	created, until int64 // microseconds since 1970; 0: unknown, permanent
	sum            uint64
}

// told is what many blocks have in common.
type told struct {
	rule, message string
	status        int
}

// askFor is the until of an entry that only Redis can tell about: its value can't be read.
const askFor = -1

func newReplica() *replica {
	r := &replica{
		addrs: xsync.NewMap[netip.Addr, *entry](),
		users: xsync.NewMap[string, *entry](), usernames: xsync.NewMap[string, *entry](), session: xsync.NewMap[string, *entry](),
	}
	r.ranges.Store(new(bart.Table[*entry]))
	r.others.Store(&map[string]*values{})
	return r
}

// newEntry keeps b; sum stands for the value it was read from, 0 for none.
func newEntry(b checker.Block, sum uint64) *entry {
	e := &entry{
		id: b.ID, reason: b.Reason, sum: sum,
		told: unique.Make(told{rule: b.Rule, message: b.Message, status: b.StatusCode}),
	}
	if !b.CreatedAt.IsZero() {
		e.created = b.CreatedAt.UnixMicro()
	}
	if !b.Permanent() {
		e.until = max(b.ExpiresAt.UnixMicro(), 1)
	}
	return e
}

func (e *entry) activeAt(now int64) bool { return e.until <= 0 || now <= e.until }

func (e *entry) block(scope checker.Scope) checker.Block {
	t := e.told.Value()
	b := checker.Block{ID: e.id, Scope: scope, Reason: e.reason, Rule: t.rule, StatusCode: t.status, Message: t.message}
	if e.created != 0 {
		b.CreatedAt = time.UnixMicro(e.created).UTC()
	}
	if e.until != 0 {
		b.ExpiresAt = time.UnixMicro(e.until).UTC()
	}
	return b
}

// prefixOf reads the value of an ip scope that is an address or a range, written the canonical way.
func prefixOf(scope checker.Scope) (netip.Prefix, bool) {
	if scope.Type != checker.ScopeIP {
		return netip.Prefix{}, false
	}
	var p netip.Prefix
	if strings.Contains(scope.Value, "/") {
		p, _ = netip.ParsePrefix(scope.Value)
	} else if addr, err := netip.ParseAddr(scope.Value); err == nil {
		p = netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
	}
	ok := p.IsValid() && p == p.Masked() && !p.Addr().Is4In6() && addrValue(p) == scope.Value
	return p, ok
}

// addrValue is how an ip scope writes p.
func addrValue(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// of returns the values of a type, nil for none of a type that isn't built in.
func (r *replica) of(typ string) *values {
	switch typ {
	case checker.ScopeUser:
		return r.users
	case checker.ScopeUsername:
		return r.usernames
	case checker.ScopeSession:
		return r.session
	}
	return (*r.others.Load())[typ]
}

func (r *replica) get(scope checker.Scope) *entry {
	if p, ok := prefixOf(scope); ok {
		return r.getAddr(p)
	}
	if v := r.of(scope.Type); v != nil {
		e, _ := v.Load(scope.Value)
		return e
	}
	return nil
}

// set keeps e as what blocks scope; nil for nothing. One goroutine at a time may call it.
func (r *replica) set(scope checker.Scope, e *entry) {
	p, isAddr := prefixOf(scope)
	switch {
	case isAddr:
		r.setAddr(p, e)
	case e != nil:
		r.ensure(scope.Type).Store(scope.Value, e)
	default:
		if v := r.of(scope.Type); v != nil {
			v.Delete(scope.Value)
		}
	}
}

func (r *replica) getAddr(p netip.Prefix) *entry {
	var e *entry
	if p.IsSingleIP() {
		e, _ = r.addrs.Load(p.Addr())
	} else {
		e, _ = r.ranges.Load().Get(p)
	}
	return e
}

func (r *replica) setAddr(p netip.Prefix, e *entry) {
	t := r.ranges.Load()
	switch {
	case p.IsSingleIP() && e != nil:
		r.addrs.Store(p.Addr(), e)
	case p.IsSingleIP():
		r.addrs.Delete(p.Addr())
	case e != nil && r.shared:
		r.ranges.Store(t.InsertPersist(p, e))
	case e != nil:
		t.Insert(p, e)
	case r.shared:
		r.ranges.Store(t.DeletePersist(p))
	default:
		t.Delete(p)
	}
}

func (r *replica) ensure(typ string) *values {
	if v := r.of(typ); v != nil {
		return v
	}
	more := maps.Clone(*r.others.Load())
	more[typ] = xsync.NewMap[string, *entry]()
	r.others.Store(&more)
	return more[typ]
}

// size is the number of entries.
func (r *replica) size() int {
	n := r.addrs.Size() + r.ranges.Load().Size() + r.users.Size() + r.usernames.Size() + r.session.Size()
	for _, v := range *r.others.Load() {
		n += v.Size()
	}
	return n
}

// find returns what blocks scopes at now, in microseconds, and whether there is more to it than the
// replica knows. An address or a prefix is also blocked by every range that contains it: those blocks
// have the range as their scope.
func (r *replica) find(scopes []checker.Scope, now int64) (found []checker.Block, ask bool) {
	add := func(scope checker.Scope, e *entry) {
		if !e.activeAt(now) || slices.ContainsFunc(found, func(b checker.Block) bool { return b.Scope == scope }) {
			return
		}
		if e.until == askFor {
			ask = true
			return
		}
		found = append(found, e.block(scope))
	}
	for _, scope := range scopes {
		if rediskey.Hashed(scope.Value) {
			ask = true
		} else if p, ok := prefixOf(scope); ok {
			if e := r.getAddr(p); e != nil {
				add(scope, e)
			}
			for wider, e := range r.ranges.Load().Supernets(p) {
				add(checker.Scope{Type: scope.Type, Value: wider.String()}, e)
			}
		} else if e := r.get(scope); e != nil {
			add(scope, e)
		}
	}
	return found, ask
}

// clean reports that no entry is about s. It takes s as the caller gave it.
func (r *replica) clean(s *checker.Subject) bool {
	return r.cleanAddr(s.IP) && cleanValue(r.users, s.User) && cleanValue(r.usernames, s.Username) &&
		cleanValue(r.session, s.Session) && (len(s.Extra) == 0 || r.cleanExtra(s.Extra))
}

func (r *replica) cleanAddr(addr netip.Addr) bool {
	if !addr.IsValid() {
		return true
	}
	addr = addr.Unmap().WithZone("")
	if _, blocked := r.addrs.Load(addr); blocked {
		return false
	}
	return !r.ranges.Load().Contains(addr)
}

func cleanValue(v *values, value string) bool {
	if value = strings.TrimSpace(value); value == "" {
		return true
	}
	if rediskey.Hashed(value) {
		return false
	}
	_, blocked := v.Load(value)
	return !blocked
}

func (r *replica) cleanExtra(extra map[string]string) bool {
	for typ, value := range extra {
		if typ == checker.ScopeIP {
			addr, _ := checker.ParseAddr(value)
			if !r.cleanAddr(addr) {
				return false
			}
		} else if v := r.of(typ); v != nil && !cleanValue(v, value) || rediskey.Hashed(strings.TrimSpace(value)) {
			return false
		}
	}
	return true
}
