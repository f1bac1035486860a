package keycycler

import "net/http"

// loadClients reads the tokens that clients must have, and watches them.
func (g *gateway) loadClients() (err error) {
	if g.Tokens == nil {
		g.Logger.Info("no client tokens: whoever reaches this site may use its keys")
		return nil
	}
	g.clients, err = newClients(g.Tokens)
	return err
}

// letIn tells whether the request may go on, and whose it is.
func (g *gateway) letIn(r *http.Request) (name string, presented, ok bool) {
	if g.clients == nil {
		return "", false, true
	}
	c, presented := g.clients.admit(r)
	if c == nil {
		return "", presented, false
	}
	c.tell(r)
	return c.name, presented, true
}

// unauthorized answers a request without a valid token. It reads nothing of its body,
// and says nothing of what was presented.
func (g *gateway) unauthorized(w http.ResponseWriter, r *http.Request, presented bool) error {
	g.metrics.unauthorized.Inc()
	g.announcer.unauthorized(presented)
	report := new(report)
	report.begin(r)
	report.pool, report.path, report.outcome = g.Pool, r.URL.Path, outcomeUnauthorized
	challenge := `Bearer realm="keycycler"`
	if presented { // RFC 6750 §3.1: no error code where nothing was
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("Www-Authenticate", challenge)
	return g.writeRefusal(w, r, refusal{unauthorized: true})
}
