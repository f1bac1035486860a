package misuse

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
)

// Carriage looks at what goes out to the upstream: whether the key is still in it. It looks
// at one attempt after it was armed, since looking costs. The zero Carriage is armed. It is
// safe for concurrent use.
type Carriage struct {
	looked atomic.Bool // at an attempt since it was armed
	lost   atomic.Bool // that was told once
}

// Arm makes it look at the next attempt.
func (c *Carriage) Arm() {
	if c.looked.Load() {
		c.looked.Store(false)
	}
}

// Due tells whether it is to look at the attempt that begins, which is the only one then.
func (c *Carriage) Due() bool { return !c.looked.Load() && c.looked.CompareAndSwap(false, true) }

// Look returns a context for an attempt whose request has this header, the secret in it:
// tell is called, once in all, with the header's name if what goes out with the context
// does not have the secret. A key that travels elsewhere is not looked for.
func (c *Carriage) Look(ctx context.Context, header http.Header, secret string, tell func(name string)) context.Context {
	for name, values := range header {
		if holds(values, secret) {
			s := &sight{secret: secret}
			s.lost = func() {
				if c.lost.CompareAndSwap(false, true) {
					tell(name)
				}
			}
			return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: s.field, WroteHeaders: s.done})
		}
	}
	return ctx
}

// sight is what was seen of one request that goes out.
type sight struct {
	secret      string
	any, intact atomic.Bool
	lost        func()
}

func (s *sight) field(_ string, values []string) {
	s.any.Store(true)
	if holds(values, s.secret) {
		s.intact.Store(true)
	}
}

func (s *sight) done() {
	if s.any.Load() && !s.intact.Load() {
		s.lost()
	}
}

func holds(values []string, secret string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, secret) })
}
