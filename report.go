package keycycler

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/rotator"
)

// report is what became of a request, for placeholders. Access logs ask it after
// the handler is back, and late reads its body, so it is not used again for another
// request.
type report struct {
	latest   *report // that of the last pool that the request has come to
	pool     string
	key      rotator.ID // of the last attempt
	attempts int
	path     string      // of the request
	body     *replayBody // nil when it has none
	replay   replayBody  // what body points to, in the same allocation
	outcome  string      // of the last attempt that is over, or of the request
	client   string      // whose token the request had; "" where it has no name
}

// What becomes of a request, besides the outcomes of its last attempt.
const (
	outcomeExhausted    = "exhausted"    // no key was left for it
	outcomeCanceled     = "canceled"     // the client left between two attempts
	outcomeUnauthorized = "unauthorized" // it had no valid client token
)

const (
	// placeholderPrefix begins the names of keycycler's placeholders.
	placeholderPrefix = "http.keycycler."

	// reportVar is the request variable that holds the report.
	reportVar = "keycycler"
)

// reportFor returns a new report of the request. Where the request has come to a
// pool before, as one that handle_errors falls back from, placeholders tell of the
// new one from now on.
func reportFor(r *http.Request) *report {
	p := new(report)
	p.latest = p
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if first, ok := vars[reportVar].(*report); ok {
		first.latest = p
		return p
	}
	if vars != nil {
		vars[reportVar] = p
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(p.lookup)
	}
	return p
}

// lookup is a caddy.ReplacerFunc.
func (p *report) lookup(name string) (any, bool) {
	field, ours := strings.CutPrefix(name, placeholderPrefix)
	if !ours {
		return nil, false
	}
	p = p.latest
	switch field {
	case "pool":
		return p.pool, true
	case "key_id":
		if p.attempts == 0 {
			return "", true
		}
		return p.key.String(), true
	case "attempts":
		return p.attempts, true
	case "client":
		return p.client, true
	case "outcome":
		return p.outcome, true
	case "model":
		return p.model(), true
	}
	return nil, false
}

// model returns the model that the request names, in its path or in as much of its
// body as has come by now; "" if none.
func (p *report) model() string {
	name, ok := modelInPath(p.path)
	if !ok && p.body != nil {
		name, _ = p.body.modelName()
	}
	return name
}

// String tells nothing: the report stands among the request's variables, which are
// placeholders too.
func (*report) String() string { return reportVar }
