package keycycler

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/rotator"
)

// report is what became of a request, for placeholders. Access logs ask it after
// the handler is back, so it is not used again for another request.
type report struct {
	pool     string
	key      rotator.ID // of the last attempt
	attempts int
	outcome  string // of the last attempt that is over, or of the request
}

// What becomes of a request, besides the outcomes of its last attempt.
const (
	outcomeExhausted = "exhausted" // no key was left for it
	outcomeCanceled  = "canceled"  // the client left between two attempts
)

const (
	// placeholderPrefix begins the names of keycycler's placeholders.
	placeholderPrefix = "http.keycycler."

	// reportVar is the request variable that holds the report.
	reportVar = "keycycler"
)

// reportFor returns the request's report. A request that comes to a second pool,
// such as one that handle_errors falls back to, has one report, of the last.
func reportFor(r *http.Request) *report {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if p, ok := vars[reportVar].(*report); ok {
		*p = report{}
		return p
	}
	p := new(report)
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
	case "outcome":
		return p.outcome, true
	}
	return nil, false
}

// String tells nothing: the report stands among the request's variables, which are
// placeholders too.
func (*report) String() string { return reportVar }
