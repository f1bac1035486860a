package resource

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/rotator"
)

// MaxLearned is how much of an answer is read for ids, in bytes.
const MaxLearned = 256 << 10

// Learner reads the ids in an answer that streams to the client: before the client gets
// a piece of it, what that names is known. It is not safe for concurrent use.
type Learner struct {
	scanner peek.StringScanner
	api     *provider.Resources
	pool    *rotator.Pool
	slot    rotator.Slot
	now     time.Time
	left    int // bytes still to be read

	last   [peek.MaxText]byte // the value before: streams repeat it in each event
	length int
}

var learners = sync.Pool{New: func() any { return new(Learner) }}

// Write takes the answer's next piece.
func (l *Learner) Write(p []byte) {
	if l.left > 0 {
		p = p[:min(len(p), l.left)]
		l.left -= len(p)
		l.scanner.Write(p)
	}
}

// TakeValue implements valueTaker.
func (l *Learner) TakeValue(name, value []byte) {
	seals := isSealed(l.api, name, value)
	if !seals && !l.api.HoldsID(name) || bytes.Equal(value, l.last[:l.length]) {
		return
	}
	l.length = copy(l.last[:], value)
	if seals {
		l.pool.Own(l.now, l.slot, sealed(value))
		return
	}
	l.learn(value)
}

// isSealed tells whether the value is the beginning of what only its key can read.
func isSealed(api *provider.Resources, name, value []byte) bool {
	return len(value) > 0 && string(name) == peek.Sealed && api.Seals()
}

// sealed returns what begins so: of a kind that comes by the thousand.
func sealed(beginning []byte) rotator.Resource { return rotator.ResourceOf(beginning).Passing() }

// learn notes whose what is named is.
func (l *Learner) learn(value []byte) {
	l.api.Ids(value, func(id []byte) bool {
		l.pool.Own(l.now, l.slot, l.api.Resource(id))
		return true
	})
}

// Release gives l back.
func (l *Learner) Release() {
	l.pool = nil
	learners.Put(l)
}

// namingHeaders are those in which an answer says where what it has made is found.
var namingHeaders = []string{"Location", "Operation-Location", "X-Goog-Upload-Url"}

// NewLearner reads what the header of an answer to a request with the key at slot says
// about resources. It returns what is to read the body, or nil. Give it back with release.
func NewLearner(api *provider.Resources, pool *rotator.Pool, slot rotator.Slot, status int, header http.Header, now time.Time) *Learner {
	if status < 200 || status > 299 {
		return nil
	}
	l := learners.Get().(*Learner)
	l.api, l.pool, l.slot, l.now = api, pool, slot, now
	l.left, l.length = MaxLearned, 0
	for _, name := range namingHeaders {
		for _, value := range header[name] {
			l.learn([]byte(value))
		}
	}
	media := header.Get("Content-Type")
	events := peek.IsEventStream(media)
	if !events && !peek.IsJSON(media) || !isPlainEncoding(header.Get("Content-Encoding")) {
		l.Release()
		return nil
	}
	l.scanner.Begin(l, events, provider.ClientText)
	return l
}

func isPlainEncoding(encoding string) bool { return encoding == "" || encoding == "identity" }

// Readable makes the upstream answer in plain text where the answer is to be read.
func Readable(header http.Header) {
	if len(header["Accept-Encoding"]) > 0 {
		header["Accept-Encoding"] = []string{"identity"}
	}
}
