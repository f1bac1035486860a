package gateway

import (
	"net/http"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/provider"
)

// loadClients reads the tokens that clients must have, and watches them.
func (g *Gateway) loadClients() (err error) {
	if g.Tokens == nil {
		g.Logger.Info("no client tokens: whoever reaches this site may use its keys")
		return nil
	}
	g.clients, err = client.New(g.Tokens)
	return err
}

// letIn tells whether the request may go on, and whose it is.
func (g *Gateway) letIn(r *http.Request) (name string, presented, ok bool) {
	if g.clients == nil {
		return "", false, true
	}
	c, presented := g.clients.Admit(r)
	if c == nil {
		return "", presented, false
	}
	c.Tell(r)
	return c.Name, presented, true
}

// unauthorized answers a request without a valid token. It reads nothing of its body,
// and says nothing of what was presented.
func (g *Gateway) unauthorized(w http.ResponseWriter, r *http.Request, presented bool) error {
	g.metrics.Unauthorized.Inc()
	g.announcer.Unauthorized(presented)
	report := new(observe.Report)
	outer := report.Begin(r)
	report.Pool, report.Outcome = g.seen, observe.OutcomeUnauthorized
	g.tellNested(outer, r)
	challenge := `Bearer realm="keycycler"`
	if presented { // RFC 6750 §3.1: no error code where nothing was
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("Www-Authenticate", challenge)
	return g.writeRefusal(w, r, provider.Refusal{Unauthorized: true})
}
