package observe

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/keycycler/keycycler/internal/upstream"
)

// AttemptContext is the context of an attempt's request. Caddy binds placeholders to
// the request that its server has made: there they would show the client's request, and
// nothing of what handlers have changed since. So the attempt has a replacer of its own,
// bound to its request, and variables of its own. What handlers set on them is seen by
// all who look at the request afterwards; what the request of the attempt is like, with
// the key in it, is seen by the attempt's handlers alone.
//
// Both are made when somebody asks for them: what evaluates nothing pays nothing. It is
// safe for concurrent use, and after the attempt: what dials for it may still ask.
type AttemptContext struct {
	context.Context
	report  *Report
	request *http.Request // the attempt's
	key     Place

	mu      sync.Mutex
	over    bool
	proxied bool         // it goes by its key's proxy
	n       uint16       // it is the n-th
	own     atomic.Int32 // whether reverse_proxy has set its placeholders on repl
	repl    *caddy.Replacer
	vars    map[string]any
	rare    *attemptRare // nil until somebody wants it
}

// attemptRare is what few attempts have: what Caddy's placeholders for requests are bound
// to, and the groups of routes of which one was taken.
type attemptRare struct {
	mu      sync.Mutex
	request *http.Request // nil until somebody looks at it
	repl    *caddy.Replacer
	took    map[string]struct{} // the context's mu guards it
}

// What own may be.
const (
	unknown int32 = iota
	missing       // lookup was asked for one of them
	settled       // they are there, and those of before the attempt are gone
)

// Begin makes c the context of an attempt with this key, whose request is about to be made.
func (c *AttemptContext) Begin(ctx context.Context, request *http.Request, r *Report, key Place) {
	c.Context, c.request, c.report, c.key, c.n = ctx, request, r, key, uint16(r.attempts) // at most 1000
}

// Value implements context.Context.
func (c *AttemptContext) Value(key any) any {
	switch key {
	case caddy.ReplacerCtxKey:
		if c.report.repl != nil {
			return c.replacer()
		}
	case caddyhttp.VarsCtxKey:
		if c.report.vars != nil {
			return c.variables()
		}
	case routeGroups:
		if groups, ok := c.Context.Value(key).(map[string]struct{}); ok {
			return c.groups(groups)
		}
	case upstream.Key:
		return c.key.way()
	case upstream.HostKey:
		return &c.report.client.Host
	case upstream.ProxiedKey:
		return c
	}
	return c.Context.Value(key)
}

// GoesByProxy implements upstream.Proxied.
func (c *AttemptContext) GoesByProxy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proxied = true
}

// Proxied tells whether the attempt went by its key's proxy.
func (c *AttemptContext) Proxied() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proxied
}

// routeGroups is under which Caddy notes of which groups of routes one was taken: of the
// handlers in one, such as the rewrites of a site, no other is. Each attempt takes its
// own: the second one is rewritten as the first was.
const routeGroups caddy.CtxKey = "route_group"

// groups returns the attempt's, which begins with the request's.
func (c *AttemptContext) groups(request map[string]struct{}) map[string]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	rare := c.rarely()
	switch {
	case rare.took != nil:
	case c.over:
		rare.took = make(map[string]struct{})
	default:
		rare.took = maps.Clone(request)
	}
	return rare.took
}

// rarely returns what few attempts have. c.mu is held.
func (c *AttemptContext) rarely() *attemptRare {
	if c.rare == nil {
		c.rare = new(attemptRare)
	}
	return c.rare
}

// replacer returns the attempt's replacer.
func (c *AttemptContext) replacer() *caddy.Replacer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.repl == nil {
		c.repl = caddy.NewReplacer()
		c.repl.Map(c.lookup)
		if !c.over {
			c.report.shown.Store(c)
		}
	}
	return c.repl
}

// variables returns the attempt's variables. What dials for an attempt may read them
// while reverse_proxy writes those of the next.
func (c *AttemptContext) variables() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.vars != nil:
	case c.over:
		c.vars = make(map[string]any) // the request's may be in use elsewhere
	default:
		c.vars = maps.Clone(c.report.vars)
	}
	return c.vars
}

// End makes what was set on the attempt's variables the request's. The attempt's
// handler is back.
func (c *AttemptContext) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.vars == nil {
		return
	}
	clear(c.report.vars)
	for name, value := range c.vars {
		c.report.vars[name] = c.guarded(value)
	}
}

// lookup is a caddy.ReplacerFunc: what the attempt's handlers see.
func (c *AttemptContext) lookup(name string) (any, bool) {
	if strings.HasPrefix(name, "file.") {
		return nil, false // the replacer's own, which templates may take off it
	}
	if value, ok := c.ofRequest(name); ok {
		return c.guarded(value), true
	}
	if name == proxied {
		c.own.Store(missing)
	}
	if value, ok := c.field(name); ok {
		return value, true
	}
	return c.report.beneath(name)
}

// field returns one of keycycler's placeholders. What dials for the attempt may ask when the
// next one has begun: it is told of its own, and nothing of what became of the request since.
func (c *AttemptContext) field(name string) (any, bool) {
	if !strings.HasPrefix(name, PlaceholderPrefix) {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		return c.report.latest.field(name)
	}
	return c.report.at(c.key, int32(c.n)).field(name)
}

// ofRequest looks at the attempt's request as it is now.
func (c *AttemptContext) ofRequest(name string) (any, bool) {
	if !strings.HasPrefix(name, "http.") {
		return nil, false
	}
	v := c.viewed()
	v.mu.Lock()
	defer v.mu.Unlock()
	*v.request = *c.request
	value, ok := v.repl.Get(name)
	if strings.HasPrefix(name, "http.request.body") {
		c.request.Body = v.request.Body // it was read, and can be read again from there
	}
	return value, ok
}

// viewed returns what shows the request.
func (c *AttemptContext) viewed() *attemptRare {
	c.mu.Lock()
	defer c.mu.Unlock()
	rare := c.rarely()
	if rare.request == nil {
		rare.repl = caddy.NewEmptyReplacer()
		rare.request = caddyhttp.PrepareRequest(&http.Request{URL: new(url.URL)}, rare.repl, nil, nil)
	}
	return rare
}

// settle reports, once, that the attempt's reverse_proxy has set its placeholders: the
// replacer does not ask lookup for them.
func (c *AttemptContext) settle() bool {
	if c.own.Load() == settled {
		return false
	}
	c.own.Store(unknown)
	c.repl.Get(proxied)
	return c.own.CompareAndSwap(unknown, settled)
}

// address returns the address that the attempt's reverse_proxy has turned to, "" if it
// has not, or the attempt is over.
func (c *AttemptContext) address() string {
	c.mu.Lock()
	repl, over := c.repl, c.over
	c.mu.Unlock()
	if repl == nil || over {
		return ""
	}
	before := c.own.Swap(unknown)
	address, _ := repl.GetString(proxied)
	if c.own.CompareAndSwap(unknown, before) {
		return strings.TrimPrefix(address, "tcp/")
	}
	return "" // it is that of one before us
}

// guarded returns a placeholder's value, so that it is not logged if the key is in it.
func (c *AttemptContext) guarded(value any) any {
	text, ok := value.(string)
	if !ok {
		return value
	}
	secret := c.key.secret()
	for range 3 { // {uri} may hold it escaped, and {http.request.uri_escaped} that again
		if strings.Contains(text, secret) {
			return withKey(text)
		}
		escaped := url.QueryEscape(secret)
		if escaped == secret {
			break
		}
		secret = escaped
	}
	return value
}

// withKey is a placeholder's value that holds a key: handlers that put placeholders into
// text get it, and expressions, whereas log_append does not.
type withKey string

// redacted is what stands for it where it is printed.
const redacted = "(holds the API key)"

// String implements fmt.Stringer, for caddy.ToString.
func (v withKey) String() string { return string(v) }

// Format implements fmt.Formatter.
func (withKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (withKey) MarshalLogObject(o zapcore.ObjectEncoder) error {
	o.AddString("redacted", redacted)
	return nil
}

// Interface guards
var (
	_ context.Context         = (*AttemptContext)(nil)
	_ fmt.Formatter           = withKey("")
	_ zapcore.ObjectMarshaler = withKey("")
)
