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

// A replica holds the blocks of one snapshot, with the changes since. Any number of goroutines may
// read it without a lock while one changes it. Use newReplica: the zero value is not usable.
type replica struct {
	complete bool // whether the membership hash was complete
	shared   bool // other goroutines read it: tables are replaced, not changed

	// Addresses and ranges in canonical form; any other ip scope is among the values. Addresses
	// have a map of their own because changing one costs a twentieth of changing it in the table.
	addrs                     *xsync.Map[netip.Addr, *entry]
	ranges                    atomic.Pointer[bart.Table[*entry]]
	users, usernames, session *values
	others                    atomic.Pointer[map[string]*values] // by type
}

type values = xsync.Map[string, *entry]

// An entry is a block in memory, without metadata. It is immutable.
type entry struct {
	id, reason     string
	common         unique.Handle[common]
	created, until int64 // microseconds since 1970; 0: unknown, permanent
	sum            uint64
}

// common holds the fields that many blocks share.
type common struct {
	rule, message string
	status        int
}

// unreadable is the until of an entry whose value could not be decoded: look-ups ask Redis for it.
const unreadable = -1

func newReplica() *replica {
	r := &replica{
		addrs: xsync.NewMap[netip.Addr, *entry](),
		users: xsync.NewMap[string, *entry](), usernames: xsync.NewMap[string, *entry](), session: xsync.NewMap[string, *entry](),
	}
	r.ranges.Store(new(bart.Table[*entry]))
	r.others.Store(&map[string]*values{})
	return r
}

// newEntry returns an entry for b. sum is a hash of the value it was decoded from, 0 if unknown.
func newEntry(b checker.Block, sum uint64) *entry {
	e := &entry{
		id: b.ID, reason: b.Reason, sum: sum,
		common: unique.Make(common{rule: b.Rule, message: b.Message, status: b.StatusCode}),
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
	t := e.common.Value()
	b := checker.Block{ID: e.id, Scope: scope, Reason: e.reason, Rule: t.rule, StatusCode: t.status, Message: t.message}
	if e.created != 0 {
		b.CreatedAt = time.UnixMicro(e.created).UTC()
	}
	if e.until != 0 {
		b.ExpiresAt = time.UnixMicro(e.until).UTC()
	}
	return b
}

// prefixOf parses the value of an ip scope. It returns false if the value is not in canonical form.
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

// addrValue returns p as the value of an ip scope.
func addrValue(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// of returns the values of a scope type; nil for a custom type without any.
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

// set stores e as the block of scope; nil removes it. It must not be called concurrently.
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

// size returns the number of entries.
func (r *replica) size() int {
	n := r.addrs.Size() + r.ranges.Load().Size() + r.users.Size() + r.usernames.Size() + r.session.Size()
	for _, v := range *r.others.Load() {
		n += v.Size()
	}
	return n
}

// find returns the blocks of scopes that are active at now, in microseconds. ask reports that only
// Redis knows the whole answer. An address or prefix is also blocked by every range that contains
// it; the Scope of such a block is the range.
func (r *replica) find(scopes []checker.Scope, now int64) (found []checker.Block, ask bool) {
	add := func(scope checker.Scope, e *entry) {
		if !e.activeAt(now) || slices.ContainsFunc(found, func(b checker.Block) bool { return b.Scope == scope }) {
			return
		}
		if e.until == unreadable {
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

// clean reports whether no entry concerns s. s need not be normalized.
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
