// Package rediskey builds the name of every key that Wardstream uses in Redis. Detector,
// ingress-check and checker agree because they share it. The list for operators is
// docs/reference/redis-keys.md.
package rediskey

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/wardstream/wardstream/pkg/checker"
)

// MaxValue is the longest value written out in a key, in bytes.
const MaxValue = 256

// DefaultPrefix starts every key unless configured otherwise.
const DefaultPrefix = "wardstream"

const (
	maxPrefix   = 128
	hashedValue = "sha256-"
)

// CompleteField is the membership hash's field that says the hash holds every
// active permanent block. A scope's field always has a colon, so none collides.
const CompleteField = "complete"

var errPrefix = errors.New("want 1 to 128 letters, digits or any of -_.:/ and at most one {hash tag}")

// CheckPrefix reports why prefix can't start keys. In a Redis Cluster a prefix
// may hold one hash tag, "{tag}", which puts all keys into one slot.
func CheckPrefix(prefix string) error {
	plain := prefix
	if tag := hashTag(prefix); tag != prefix {
		plain = strings.Replace(prefix, "{"+tag+"}", tag, 1)
	}
	for _, c := range []byte(plain) {
		alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !alnum && !strings.ContainsRune("-_.:/", rune(c)) {
			return fmt.Errorf("key prefix %q: %w", prefix, errPrefix)
		}
	}
	if prefix == "" || len(prefix) > maxPrefix {
		return fmt.Errorf("key prefix %q: %w", prefix, errPrefix)
	}
	return nil
}

// Keys names Wardstream's Redis keys under one prefix, for which CheckPrefix
// must be nil.
type Keys struct{ Prefix string }

// Block is the key of the block of s: "{prefix}:block:{type}:{value}".
func (k Keys) Block(s checker.Scope) string {
	return k.Prefix + blockInfix + MemberField(s)
}

const blockInfix = ":block:"

// AppendBlock appends the key of the block of s to text. What follows the first FieldAt bytes of
// the key is MemberField's.
func (k Keys) AppendBlock(text []byte, s checker.Scope) []byte {
	text = append(append(text, k.Prefix...), blockInfix...)
	text = append(append(text, s.Type...), ':')
	return append(text, Value(s.Value)...)
}

// FieldAt is where the field of the membership hash begins in the key of a block.
func (k Keys) FieldAt() int { return len(k.Prefix) + len(blockInfix) }

// BlockScope is the scope whose Block key is. It reports false as [FieldScope] does.
func (k Keys) BlockScope(key string) (checker.Scope, bool) {
	field, ok := strings.CutPrefix(key, k.Prefix+blockInfix)
	if !ok {
		return checker.Scope{}, false
	}
	return FieldScope(field)
}

// BlockPattern matches the keys of all blocks, and maybe others, as SCAN's
// MATCH does.
func (k Keys) BlockPattern() string { return k.Prefix + ":block:*" }

// Permanent is the membership hash of all active permanent blocks.
func (k Keys) Permanent() string { return k.Prefix + ":blocks:permanent" }

// Generation is the string that changes with every write of a permanent block,
// which is how a rebuild of the membership hash learns that it was superseded. Its
// hash tag puts it into the slot of the membership hash.
func (k Keys) Generation() string { return k.Prefix + ":blocks:generation:{" + k.Permanent() + "}" }

// Rebuild is the key under which a rebuild that has drawn token prepares the
// next membership hash, in the slot of the present one.
func (k Keys) Rebuild(token string) string {
	return k.Prefix + ":blocks:rebuild:{" + k.Permanent() + "}:" + token
}

// Changes is the stream that says which scopes' blocks changed, for mirrors to follow.
func (k Keys) Changes() string { return k.Prefix + ":blocks:changes" }

// ChangesHead is the string that says where Changes ends, in its slot: a [Position].
func (k Keys) ChangesHead() string { return k.Changes() + ":head:{" + k.Changes() + "}" }

// Warm is the Python library's sentinel; deleting it makes its readers reload.
func (k Keys) Warm() string { return k.Prefix + ":blocks:warm" }

// Unblocked is the tombstone that an operator's unblock of s leaves. It lives in the
// slot of the block's key in a Redis Cluster: the block's key is its hash tag.
// A value with braces would break that (a client may choose the name "a}b"),
// so there the tag is another name for the same slot.
func (k Keys) Unblocked(s checker.Scope) string {
	block := k.Block(s)
	own := block[len(k.Prefix):]
	if strings.ContainsAny(own, "{}") && !strings.Contains(k.Prefix, "{") {
		return k.Prefix + ":unblocked:{" + slotTag(slot(block)) + "}:" + MemberField(s)
	}
	return k.Prefix + ":unblocked:{" + block + "}"
}

// Cooldown is the marker that an alert of rule about group was emitted.
func (k Keys) Cooldown(rule, group string) string {
	return k.Prefix + ":cooldown:" + rule + ":" + Value(group)
}

// Uncounted is what the worker of that consumer name could not use of late.
func (k Keys) Uncounted(consumer string) string { return k.Prefix + ":uncounted:" + Value(consumer) }

// MemberField is the field of s in the membership hash, "type:value".
func MemberField(s checker.Scope) string { return s.Type + ":" + Value(s.Value) }

// FieldScope is the scope whose MemberField is field. It reports false for what is not a scope's,
// and where the value is a hash: what that stands for isn't known.
func FieldScope(field string) (checker.Scope, bool) {
	typ, value, ok := strings.Cut(field, ":")
	return checker.Scope{Type: typ, Value: value}, ok && typ != "" && value != "" && !Hashed(value)
}

// Settings is the string that holds what ingress must agree upon with detection.
func (k Keys) Settings() string { return k.Prefix + ":settings" }

// Window is the log of the window that the spec called id keeps for group.
func (k Keys) Window(id, group string) string {
	return k.Prefix + ":window:" + id + ":" + Value(group)
}

// WindowClears is the sorted set of the clears that the window of id and group
// remembers: the tag of each, scored by its time in milliseconds.
func (k Keys) WindowClears(id, group string) string {
	return k.Prefix + ":clears:" + id + ":" + Value(group)
}

// WindowTags is the sorted set of the tags that members of windows of id have had,
// scored by when that was last written.
func (k Keys) WindowTags(id string) string { return k.Prefix + ":tags:" + id }

// Consumer is the lease on a consumer name of group.
func (k Keys) Consumer(group, name string) string {
	return k.Prefix + ":consumer:" + group + ":" + name
}

// PoisonMarker is the marker that the entry id of stream is being handled alone, as it may end the
// process.
func (k Keys) PoisonMarker(stream, id string) string {
	return k.Prefix + ":suspect:" + stream + ":" + id
}

// Counted holds the replication ID under which Redis' count of what group has read of stream is
// right.
func (k Keys) Counted(stream, group string) string {
	return k.Prefix + ":counted:" + stream + ":" + group
}

// Doctor is a key that the checks of permissions write and delete.
func (k Keys) Doctor(token string) string { return k.Prefix + ":doctor:" + token }

// DeadSuffix ends the name of a dead-letter stream, after the name of the stream.
const DeadSuffix = ":dead"

// DeadLetters is the stream of the dead letters of stream.
func DeadLetters(stream string) string { return stream + DeadSuffix }

// Hashed reports whether a hash stands for the value v in keys: it is long, or looks hashed, or
// a client could choose a name that stands for another's.
func Hashed(v string) bool {
	return len(v) > MaxValue || len(v) == len(hashedValue)+2*sha256.Size && strings.HasPrefix(v, hashedValue)
}

// Value is v as keys hold it: a hash where v is long or could be mistaken for one.
func Value(v string) string {
	if !Hashed(v) {
		return v
	}
	return Hash(v)
}

// Hash is what stands for a hashed value: "sha256-" and the hash in hexadecimal.
func Hash(v string) string {
	sum := sha256.Sum256([]byte(v))
	return hashedValue + hex.EncodeToString(sum[:])
}
