package misuse

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
)

// Carriage says at which attempts to look whether the key is in what goes out: at one after
// it was armed, since looking costs. The zero Carriage is armed. It is safe for concurrent
// use.
type Carriage struct{ looked atomic.Bool }

// Arm makes it look at the next attempt.
func (c *Carriage) Arm() {
	if c.looked.Load() {
		c.looked.Store(false)
	}
}

// Due tells whether to look at the attempt that begins, which is the only one then.
func (c *Carriage) Due() bool { return !c.looked.Load() && c.looked.CompareAndSwap(false, true) }

// Sight is what was seen of a request that goes out. It is safe for concurrent use.
type Sight struct {
	name, secret         string
	written, intact, all atomic.Bool
}

// Look returns a context by which an attempt is seen whose request has this header, the
// secret in it; nil for a key that travels elsewhere.
func Look(ctx context.Context, header http.Header, secret string) (context.Context, *Sight) {
	for name, values := range header {
		if holds(values, secret) {
			s := &Sight{name: name, secret: secret}
			return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: s.field, WroteHeaders: s.done}), s
		}
	}
	return ctx, nil
}

// Blank tells whether there was nothing to see: no header has gone out. s may be nil, which
// is none that has looked.
func (s *Sight) Blank() bool { return s != nil && !s.all.Load() }

// Lost returns the name of the header that carried the key, if something else went out; or
// "". s may be nil.
func (s *Sight) Lost() string {
	if s == nil || !s.all.Load() || s.intact.Load() {
		return ""
	}
	return s.name
}

func (s *Sight) field(_ string, values []string) {
	s.written.Store(true)
	if holds(values, s.secret) {
		s.intact.Store(true)
	}
}

// done is told that all fields have been: of a transport that tells of fields at all.
func (s *Sight) done() { s.all.Store(s.written.Load()) }

func holds(values []string, secret string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, secret) })
}
