package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/observe"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// endpoint is a running gateway, by the address of Caddy's admin endpoint.
type endpoint string

// askPools finds the gateway by the flags, and asks for its pools: all, or that of
// the flag pool.
func askPools(cmd *cobra.Command) (endpoint, []observe.PoolStatus, error) {
	g, err := addressOf(cmd)
	if err != nil {
		return "", nil, err
	}
	pools, err := g.pools()
	if err != nil || !cmd.Flag("pool").Changed {
		return g, pools, err
	}
	name := cmd.Flag("pool").Value.String()
	i := slices.IndexFunc(pools, func(p observe.PoolStatus) bool { return p.Pool == name })
	switch {
	case len(pools) == 0:
		return g, nil, g.noPool()
	case i < 0:
		return g, nil, fmt.Errorf("no pool is named %s: %s", directive.Shown(name), directive.Instead(name, strings.Split(poolNames(pools), ", "), "there is "+poolNames(pools)))
	}
	return g, pools[i : i+1], nil
}

func poolNames(pools []observe.PoolStatus) string {
	all := make([]string, 0, len(pools))
	for _, p := range pools {
		all = append(all, p.Pool)
	}
	return strings.Join(all, ", ")
}

// noPool says that the gateway has none.
func (g endpoint) noPool() error {
	return fmt.Errorf("the config of the Caddy at %s has no keycycler pool", string(g))
}

func (g endpoint) pools() (pools []observe.PoolStatus, err error) {
	err = g.ask(http.MethodGet, apiPath, nil, &pools)
	if hasStatus(err, http.StatusNotFound) {
		return nil, fmt.Errorf("the Caddy at %s is built without keycycler, or with an old one: run one that has it, or ask another (--address, --config)", string(g))
	}
	return pools, err
}

func keysPath(pool string) string { return apiPath + "/" + url.PathEscape(pool) + "/keys" }

// keys returns a pool's keys, at most limit of them, or all if that is 0. Next is
// set if there are more.
func (g endpoint) keys(pool string, query url.Values, limit int) (observe.KeysPage, error) {
	query = maps.Clone(query)
	all := observe.KeysPage{Keys: []observe.KeyStatus{}}
	for {
		n := observe.MaxLimit
		if limit > 0 {
			n = min(n, limit-len(all.Keys))
		}
		query.Set("limit", strconv.Itoa(n))
		var page observe.KeysPage
		if err := g.ask(http.MethodGet, keysPath(pool)+"?"+query.Encode(), nil, &page); err != nil {
			return all, err
		}
		all.Keys, all.Next = append(all.Keys, page.Keys...), page.Next
		if page.Next == "" || limit > 0 && len(all.Keys) >= limit {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// find returns the key as each pool has it that holds it.
func (g endpoint) find(pools []observe.PoolStatus, id string) ([]poolKey, error) {
	var found []poolKey
	for _, p := range pools {
		key := poolKey{Pool: p.Pool}
		switch err := g.ask(http.MethodGet, keysPath(p.Pool)+"/"+id, nil, &key.KeyStatus); {
		case hasStatus(err, http.StatusNotFound):
		case err != nil:
			return nil, err
		default:
			found = append(found, key)
		}
	}
	return found, nil
}

// findAll returns each key as the first pool has it that holds it. A key that no
// pool holds is an error.
func (g endpoint) findAll(pools []observe.PoolStatus, ids []string) ([]poolKey, error) {
	var keys []poolKey
	var unknown []string
	for _, id := range ids {
		found, err := g.find(pools, id)
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0:
			unknown = append(unknown, id)
		default:
			keys = append(keys, found[0])
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%w: nothing was changed", g.unknown(pools, unknown))
	}
	return keys, nil
}

// unknown says that none of the pools has these keys.
func (g endpoint) unknown(pools []observe.PoolStatus, ids []string) error {
	which := ids[0]
	if len(ids) > 1 {
		which += fmt.Sprintf(", nor %d more of these keys", len(ids)-1)
	}
	switch len(pools) {
	case 0:
		return g.noPool()
	case 1:
		return fmt.Errorf("pool %s has no key %s", pools[0].Pool, which)
	default:
		return fmt.Errorf("no pool has key %s", which)
	}
}

// ask sends a request to the admin API, with a body unless that is nil, and decodes
// the answer into out.
func (g endpoint) ask(method, path string, body *observe.CoolRequest, out any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	return g.call(method, path, text, out)
}

// call is ask with a body that is JSON already; nil: none.
func (g endpoint) call(method, path string, text []byte, out any) error {
	res, err := g.send(method, path, text)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%s does not answer as Caddy's admin endpoint does (--address, --config): %w", string(g), err)
	}
	return nil
}

// send sends a request, first as one that is no browser's. Where the admin endpoint wants to
// know an origin (`enforce_origin`) it is told the address: but not before, since it refuses
// one that it does not know, as of an endpoint that listens everywhere.
func (g endpoint) send(method, path string, body []byte) (*http.Response, error) {
	// Each request has a client of its own: its connection would stay open, unused.
	header := http.Header{"Connection": {"close"}, "Origin": nil}
	for {
		var content io.Reader
		if body != nil {
			content = bytes.NewReader(body)
		}
		res, err := caddycmd.AdminAPIRequest(string(g), method, path, header, content)
		if err == nil {
			return res, nil
		}
		_, untold := header["Origin"]
		err = g.failure(err)
		if !untold || !hasStatus(err, http.StatusForbidden) || !strings.Contains(strings.ToLower(err.Error()), "origin") {
			return nil, err
		}
		delete(header, "Origin")
	}
}

// refusalError is an answer that is an error.
type refusalError struct {
	address string
	status  int
	message string
}

func (r *refusalError) Error() string {
	return fmt.Sprintf("the Caddy at %s has refused: %s (status %d)", r.address, r.message, r.status)
}

func hasStatus(err error, status int) bool {
	r, ok := errors.AsType[*refusalError](err)
	return ok && r.status == status
}

// failure makes a refusal of caddycmd's error, if it is one; it comes as text.
// Otherwise it says what to do.
func (g endpoint) failure(err error) error {
	if answer, ok := strings.CutPrefix(err.Error(), "caddy responded with error: HTTP "); ok {
		code, body, _ := strings.Cut(answer, ": ")
		if status, err := strconv.Atoi(code); err == nil {
			return &refusalError{string(g), status, refusalText(body)}
		}
	}
	text := err.Error()
	if request, ok := strings.CutPrefix(text, "performing request: "); ok {
		_, cause, _ := strings.Cut(request, `": `) // behind the method and the URL
		text = fmt.Sprintf("cannot ask Caddy: %s: is it running, and is its admin endpoint at %s? (--address, --config; with 'admin off' it has none)", cause, string(g))
	}
	return errors.New(text)
}

// refusalText returns what the body of a refusal says: as Caddy writes it, or its
// first line.
func refusalText(body string) string {
	var e struct{ Error string }
	if json.Unmarshal([]byte(body), &e) == nil && e.Error != "" {
		return e.Error
	}
	line, _, _ := strings.Cut(strings.TrimSpace(body), "\n")
	return cut(line, 200)
}
