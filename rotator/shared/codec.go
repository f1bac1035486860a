package shared

import (
	"slices"
	"strconv"
	"strings"
	"unique"

	"github.com/keycycler/keycycler/rotator"
)

// names are the keys in Redis.
type names struct{ meta, log, state, deadlines, owners, leases, lapses, usage string }

func namesFor(prefix string) names {
	tag := "{" + prefix + "}:"
	return names{meta: tag + "meta", log: tag + "log", state: tag + "state", deadlines: tag + "deadlines", owners: tag + "owners",
		leases: tag + "leases", lapses: tag + "lapses", usage: tag + "usage:"}
}

// subject is what a fact is about: a key, for all requests or for those of a scope.
// In Redis it is a field: "<id>" or "<id> <scope>".
type subject struct {
	id    rotator.ID
	scope string // "": all
}

func subjectOf(c rotator.Change) subject { return subject{c.ID, c.Scope} }

// key is the subject without its scope, whose clearings count here, too.
func (s subject) key() subject { return subject{id: s.id} }

func (s subject) field() string {
	if s.scope == "" {
		return s.id.String()
	}
	return s.id.String() + " " + s.scope
}

// parseField reports false for what is not about a key.
func parseField(field string) (subject, bool) {
	digits, scope, scoped := strings.Cut(field, " ")
	scope = strings.Clone(scope) // it outlives the entry that it is a part of
	id, ok := rotator.ParseID(digits)
	return subject{id, scope}, ok && (!scoped || rotator.ValidScope(scope))
}

// fact is what Redis knows about a key, or about a key in a scope, in its own time: milliseconds since 1970.
type fact struct {
	until   int64 // 0: it does not cool
	learned int64 // when that was learned
	cleared int64 // 0: never; in a scope, what is void by it says how long it is kept
	off     rotator.Switch
	spare   int64 // when it may be asked again, after learned and before until; 0: not before until
	equal   bool  // then it is as good as a ready one
	reason  rotator.Reason
	source  string
}

// void reports whether a clearing ends the cooldown.
func (f fact) void(cleared int64) bool { return f.until != 0 && f.learned <= cleared }

// codec writes and reads facts: "<until> <learned> <cleared> <switch> <reason> <source>".
// Where the key may be asked before its time, the reason is followed by a sign and by how
// many milliseconds after it was learned that is: "rate_limited+1500".
type codec struct{ reasons []string }

// The signs say what a key is that may be asked before its time.
const (
	asGood     = '+' // as good as a ready one
	lastResort = '*' // for those who find nothing better
	signs      = string(asGood) + string(lastResort)
)

// nothing stands for an empty source, and for the reason of a key that does not
// cool.
const nothing = "-"

func (c codec) reason(f fact) string {
	switch {
	case f.until == 0:
		return nothing
	case int(f.reason) < len(c.reasons):
		return c.reasons[f.reason] + f.early()
	default:
		return strconv.Itoa(int(f.reason)) + f.early()
	}
}

// early is what follows the reason.
func (f fact) early() string {
	switch {
	case f.spare == 0:
		return ""
	case f.equal:
		return string(asGood) + strconv.FormatInt(f.spare-f.learned, 10)
	default:
		return string(lastResort) + strconv.FormatInt(f.spare-f.learned, 10)
	}
}

// rested is the fact with what follows its reason. What nobody can have written says nothing.
func (f fact) rested(sign byte, after string) fact {
	ms, err := strconv.ParseInt(after, 10, 64)
	if err == nil && ms > 0 && ms < f.until-f.learned {
		f.spare, f.equal = f.learned+ms, sign == asGood
	}
	return f
}

func (c codec) source(f fact) string {
	if f.source == "" || !isSource(f.source) {
		return nothing
	}
	return f.source
}

// decode reports false for what no process of this version has written. It allocates
// nothing for a source that it has met before: a process that starts, or whose Redis is
// filled again, reads as many facts as there are keys.
func (c codec) decode(text string) (fact, bool) {
	var times [4]int64 // the last is the switch, which alone may be negative
	for i := range times {
		number, rest, ok := strings.Cut(text, " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || n < 0 && i < 3 {
			return fact{}, false
		}
		times[i], text = min(n, maxMillis), rest
	}
	reason, source, ok := strings.Cut(text, " ")
	if !ok {
		return fact{}, false
	}
	f := fact{until: times[0], learned: times[1], cleared: times[2], off: rotator.Switch(times[3])}
	if i := strings.IndexAny(reason, signs); i >= 0 {
		f = f.rested(reason[i], reason[i+1:])
		reason = reason[:i]
	}
	f.reason = c.reasonOf(reason)
	if !f.off.Valid() {
		f.off = 0
	}
	if source != nothing && isSource(source) {
		f.source = unique.Make(source).Value() // it outlives the text, which may be a long one
	}
	return f, true
}

// plausible tells whether nobody else can have written it: what was learned or cleared
// long after now would void, or outlive, all that comes. As in the script.
func (f fact) plausible(now int64) bool {
	const ahead = 60 * 60 * 1000
	return max(f.learned, f.cleared) <= now+ahead
}

// bounded is the fact with no more left of its cooldown than there was when that was
// learned: Redis' clock may have been set back while no process was there to see it.
func (f fact) bounded(now int64) fact {
	if f.learned > now && f.until > 0 {
		f.until = max(min(f.until, now+f.until-f.learned), 1)
		if f.spare > 0 {
			f.spare = max(now+f.spare-f.learned, 1)
		}
	}
	return f
}

// maxSource is the longest source that is read, in bytes.
const maxSource = 128

// isSource tells whether a source may be shown: it ends up on terminals, and whoever
// can write to Redis can write anything.
func isSource(text string) bool {
	if len(text) > maxSource {
		return false
	}
	for _, c := range []byte(text) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// reasonOf takes reasons of a newer version for the first: the deadline counts all
// the same.
func (c codec) reasonOf(text string) rotator.Reason {
	n := slices.Index(c.reasons, text)
	if n < 0 {
		n, _ = strconv.Atoi(text)
	}
	if n < 0 || n >= rotator.MaxReasons {
		n = 0
	}
	return rotator.Reason(n)
}

// remote turns what this process knows into Redis' time.
func (j *Journal) remote(c rotator.Change) fact {
	f := fact{off: c.Off, reason: c.Reason, source: c.Source}
	if !c.Until.IsZero() {
		f.until, f.learned = j.clock.remote(c.Until), j.clock.remote(c.Learned)
	}
	if !c.Spare.IsZero() {
		if at := max(j.clock.remote(c.Spare), f.learned+1); at < f.until {
			f.spare, f.equal = at, c.Equal
		}
	}
	if !c.Cleared.IsZero() {
		f.cleared = j.clock.remote(c.Cleared)
	}
	if !c.Kept.IsZero() {
		f.until = j.clock.remote(c.Kept) // and learned never: it is void
	}
	return f
}

// local turns what Redis knows into this process's time.
func (j *Journal) local(about subject, f fact) rotator.Change {
	c := rotator.Change{ID: about.id, Scope: about.scope, Off: f.off, Reason: f.reason, Source: f.source}
	switch {
	case f.until == 0:
	case about.scope != "" && f.void(f.cleared):
		c.Kept = j.clock.local(f.until)
	default:
		c.Until, c.Learned = j.clock.local(f.until), j.clock.local(f.learned)
		if f.spare != 0 {
			c.Spare, c.Equal = j.clock.local(f.spare), f.equal
		}
	}
	if f.cleared != 0 {
		c.Cleared = j.clock.local(f.cleared)
	}
	return c
}
