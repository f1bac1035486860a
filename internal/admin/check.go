package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/status"
	"github.com/keycycler/keycycler/rotator"
)

// testKey answers POST /keycycler/pools/<pool>/keys/<id>/test.
func (*Admin) testKey(w http.ResponseWriter, r *http.Request) error {
	v, p, err := placeAt(r)
	if err != nil {
		return err
	}
	s, err := v.Test(r.Context(), p)
	if err != nil {
		return apiError(http.StatusConflict, "key %s cannot be tested: %w", p.ID(), err)
	}
	return writeJSON(w, s)
}

// Test implements status.Source.
func (pageSource) Test(r *http.Request, pool, id string) (status.Found, error) {
	parsed, _ := rotator.ParseID(id) // what is no id is no key's
	v := viewOf(pool)
	if v == nil {
		return "", fmt.Errorf("pool %s: %w", directive.Shown(pool), status.ErrNotFound)
	}
	p, ok := v.Find(parsed)
	if !ok {
		return "", fmt.Errorf("key %s: %w", directive.Shown(id), status.ErrNotFound)
	}
	s, err := v.Test(r.Context(), p)
	if err != nil {
		return "", err
	}
	return foundOf(s), nil
}

// foundOf is what the page says of a check.
func foundOf(s observe.CheckStatus) status.Found {
	if s.Did != observe.CheckNothing {
		return status.Found(s.Did)
	}
	return status.Found(s.Result)
}

// running is the config that runs, as pools name theirs.
func running() any {
	ctx := caddy.ActiveContext()
	return ctx.GetMetricsRegistry()
}

// readiness is what load balancers are told.
type readiness struct {
	Ready bool `json:"ready"`
}

var errNotReady = errors.New("no pool has a key that is enabled, or the config does not run yet")

// ready answers GET /keycycler/ready.
func (*Admin) ready(w http.ResponseWriter, _ *http.Request) error {
	if !observe.Live.Ready(time.Now(), running()) {
		return unready(w, errNotReady.Error())
	}
	return writeJSON(w, readiness{true})
}

// unready answers no, in the form of an error. It is none: whoever probes asks every few
// seconds, and Caddy logs each error.
func unready(w http.ResponseWriter, why string) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": why}) // fails when nobody is left to tell
	return nil
}

// readyPool answers GET /keycycler/ready/<pool>.
func (*Admin) readyPool(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("pool")
	switch ready, known := observe.Live.ReadyPool(time.Now(), running(), name); {
	case !known:
		return apiError(http.StatusNotFound, "no pool of the config that runs is named %s", directive.Shown(name))
	case !ready:
		return unready(w, "no key of pool "+name+" is ready or may be asked")
	}
	return writeJSON(w, readiness{true})
}

// readyPath is where keycycler_status tells, below its own path, whether the node is ready.
const readyPath = "/ready"

// asksReady tells whether a request is a load balancer's question.
func asksReady(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, readyPath) && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// tellReady answers it: whoever asks need not be known, so it names nothing.
func tellReady(w http.ResponseWriter) error {
	is := readiness{observe.Live.Ready(time.Now(), running())}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if !is.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(is) // fails when nobody is left to tell
	return nil
}
