package disk

import (
	"encoding/hex"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

// A file is lines of text, so that people can look into it. Each is a checksum, eight
// hexadecimal digits, and a space; then what kind of record it is, and its fields, each
// behind a tab, by which no scope and no source is split:
//
//	keycycler 1                      the first line: the version
//	at     <time> <clock>            the file's time when the machine's clock said so: see clock
//	key    <id> <until> <learned> <cleared> <switch> <reason> <spare> <source>
//	scope  <id> <until> <learned> <cleared> 0 <reason> <spare> <source> <scope>
//	owner  <resource> <id> <used>
//	used   m<minute> "<pool>"        or d<day>, since 1970: then names and what was counted of each,
//	                                 "<name>" <numbers>, as often as there is room for
//	had    m<minute> "<pool>"        or d<day>: then which batch of each node is the last one in the
//	                                 sums of what was used, "<node>" <number>, as often as needed
//	spent  <hash> <pieces>           what was used of a limit: "<how much>:<until when that counts> …"
//
// Times are milliseconds since 1970 by the file's time, 0: never. The spare moment has a
// sign before it, or is "-". A later record counts over an earlier one about the same. A
// further kind of record gets a word of its own here, a case in contents.add, and what writes
// it: contents.append, or Journal.ledgers where this process's memory is what is right. Readers
// skip words that they do not know.
const (
	firstLine = "keycycler 1"
	kindTime  = "at"
	kindKey   = "key"
	kindScope = "scope"
	kindOwner = "owner"
	kindUsed  = "used"
	kindHad   = "had"
	kindSpent = "spent"
)

const (
	nothing    = "-"
	asGood     = '+' // before a spare moment: then the key is as good as a ready one
	lastResort = '*' // … then it is for those who find nothing better

	sumDigits = 8
	maxFields = 10
	maxSource = 128               // bytes
	maxMillis = 9_000_000_000_000 // in the year 2255: what is later does not fit a time.Duration

	// keepOwners is for how long after their last use the engine remembers owners.
	keepOwners = 30 * 24 * time.Hour

	// keepWords is for how long it is known that a key was cleared or enabled: a process
	// that hears of this key from elsewhere may hear of it late.
	keepWords = 24 * time.Hour
)

var sums = crc32.MakeTable(crc32.Castagnoli)

// subject is what a fact is about: a key, for all requests or for those of a scope.
type subject struct {
	id    rotator.ID
	scope string // "": all
}

func subjectOf(c rotator.Change) subject { return subject{c.ID, c.Scope} }

// fact is a rotator.Change by the file's time, in milliseconds.
type fact struct {
	until   int64 // 0: it does not cool
	learned int64
	cleared int64 // 0: never
	spare   int64 // 0: it must not be asked before until
	off     rotator.Switch
	equal   bool
	reason  rotator.Reason
	source  string
}

// void reports whether a clearing ends the cooldown.
func (f fact) void(cleared int64) bool { return f.until != 0 && f.learned <= cleared }

// useful tells whether anybody may have to know that at now.
func (f fact) useful(now int64) bool {
	said := max(f.cleared, int64(max(f.off, -f.off)))
	return f.until > now || f.off.Disabled() || said > now-keepWords.Milliseconds()
}

// What was learned or cleared may lie ahead a little: it comes after what it counts over. What
// lies ahead further nobody has written who knew what time it was.
const (
	slightly = 1_000     // ms
	wrongly  = 3_600_000 // ms
)

// bounded is the fact with no more left of its cooldown than there was when that was learned.
func (f fact) bounded(now int64) fact {
	if ahead := f.learned - now; ahead > slightly && f.until > 0 {
		f.until = max(f.until-ahead, 1)
		if f.spare > 0 {
			f.spare = max(f.spare-ahead, 1)
		}
	}
	if f.cleared > now+wrongly {
		f.cleared = 0
	}
	return f
}

// appendLine appends a line with what body appends.
func appendLine(to []byte, body func([]byte) []byte) []byte {
	start := len(to)
	to = append(to, "00000000 "...)
	to = body(to)
	appendSum(to[:start], crc32.Checksum(to[start+sumDigits+1:], sums))
	return append(to, '\n')
}

// summer checks lines, in memory of its own.
type summer struct{ line, sum []byte }

// cut returns what stands in a line behind its checksum, if that is right.
func (s *summer) cut(line string) (body string, ok bool) {
	if len(line) <= sumDigits || line[sumDigits] != ' ' {
		return "", false
	}
	body = line[sumDigits+1:]
	s.line = append(s.line[:0], body...)
	s.sum = appendSum(s.sum[:0], crc32.Checksum(s.line, sums))
	return body, line[:sumDigits] == string(s.sum)
}

func appendSum(to []byte, sum uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		to = append(to, "0123456789abcdef"[sum>>shift&15])
	}
	return to
}

// fields of a record; those that are missing are empty.
type fields [maxFields]string

func split(body string) (f fields) {
	for i := range f {
		var more bool
		if f[i], body, more = strings.Cut(body, "\t"); !more {
			break
		}
	}
	return f
}

func appendNumber(to []byte, n int64) []byte { return strconv.AppendInt(append(to, '\t'), n, 10) }

func appendText(to []byte, text string) []byte { return append(append(to, '\t'), text...) }

// number reads a time or a switch. ok stays as it is where that is well.
func number(text string, ok *bool) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	*ok = *ok && err == nil
	return min(n, maxMillis)
}

func appendTime(to []byte, m mark) []byte {
	return appendNumber(appendNumber(append(to, kindTime...), m.file), m.wall)
}

func appendOwner(to []byte, r rotator.Resource, o use) []byte {
	to = append(append(to, kindOwner...), '\t')
	to = append(hex.AppendEncode(to, r[:]), '\t')
	return appendNumber(hex.AppendEncode(to, o.key[:]), o.used)
}

// codec writes and reads facts. The reasons are the names of rotator.Reason, by number.
type codec struct{ reasons []string }

func (c codec) append(to []byte, about subject, f fact) []byte {
	kind := kindKey
	if about.scope != "" {
		kind = kindScope
	}
	to = append(append(to, kind...), '\t')
	to = hex.AppendEncode(to, about.id[:])
	for _, n := range [...]int64{f.until, f.learned, f.cleared, int64(f.off)} {
		to = appendNumber(to, n)
	}
	to = appendText(to, c.reason(f))
	to = f.appendSpare(append(to, '\t'))
	to = appendText(to, f.shownSource())
	if about.scope != "" {
		to = appendText(to, about.scope)
	}
	return to
}

func (c codec) reason(f fact) string {
	switch {
	case f.until == 0:
		return nothing
	case int(f.reason) < len(c.reasons):
		return c.reasons[f.reason]
	}
	return strconv.Itoa(int(f.reason))
}

func (f fact) appendSpare(to []byte) []byte {
	if f.spare == 0 {
		return append(to, nothing...)
	}
	sign := byte(lastResort)
	if f.equal {
		sign = asGood
	}
	return strconv.AppendInt(append(to, sign), f.spare, 10)
}

func (f fact) shownSource() string {
	if f.source == "" || !isSource(f.source) {
		return nothing
	}
	return f.source
}

// isSource tells whether a source may be shown: it ends up on terminals.
func isSource(text string) bool {
	return len(text) <= maxSource && strings.TrimFunc(text, func(r rune) bool { return r >= 0x20 && r <= 0x7e }) == ""
}

// fact reports false for what no process of this version has written.
func (c codec) fact(in *fields) (about subject, f fact, ok bool) {
	about.id, ok = rotator.ParseID(in[1])
	if in[0] == kindScope {
		about.scope = in[9]
		ok = ok && rotator.ValidScope(about.scope)
	}
	f.until, f.learned, f.cleared = number(in[2], &ok), number(in[3], &ok), number(in[4], &ok)
	f.off, f.reason = rotator.Switch(number(in[5], &ok)), c.reasonOf(in[6])
	ok = ok && min(f.until, f.learned, f.cleared) >= 0 && f.off.Valid() && (about.scope == "" || f.off == 0)
	if f.until == 0 {
		f.reason = 0
		return about, f, ok
	}
	if in[7] != nothing && len(in[7]) > 1 {
		f.spare, f.equal = number(in[7][1:], &ok), in[7][0] == asGood
		ok = ok && f.spare > 0
	}
	if in[8] != nothing && isSource(in[8]) {
		f.source = in[8]
	}
	return about, f, ok
}

// reasonOf takes reasons of a newer version for the first: the deadline counts all the
// same.
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

// owner reports false for what no process of this version has written.
func owner(in *fields) (r rotator.Resource, o use, ok bool) {
	if len(in[1]) != hex.EncodedLen(len(r)) {
		return r, o, false
	}
	if _, err := hex.Decode(r[:], []byte(in[1])); err != nil {
		return r, o, false
	}
	o.key, ok = rotator.ParseID(in[2])
	o.used = number(in[3], &ok)
	return r, o, ok && o.used >= 0
}
