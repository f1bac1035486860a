// Package admin is the admin API under /keycycler/, and the handler that shows the status
// page at two places: there, and in a site (keycycler_status).
//
// It knows Caddy, and the pools as package observe shows them. It draws nothing itself:
// the page is package status. A new path of the API goes into admin.go, and what it
// answers into observe, where the command finds it too.
package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
)

func init() {
	caddy.RegisterModule(new(Admin))
}

// Admin serves the admin API of the pools, and the status page, under /keycycler/
// of Caddy's admin endpoint.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.keycycler",
		New: func() caddy.Module { return new(Admin) },
	}
}

// maxCoolBody bounds the body of POST …/cool, in bytes.
const maxCoolBody = 4 << 10

// methods are what one path answers, by method.
type methods map[string]caddy.AdminHandlerFunc

// Routes implements caddy.AdminRouter.
func (a *Admin) Routes() []caddy.AdminRoute {
	paths := map[string]methods{
		"{$}":                           {http.MethodGet: a.page, http.MethodPost: a.page},
		"pools":                         {http.MethodGet: a.listPools},
		"pools/{pool}":                  {http.MethodGet: a.showPool},
		"pools/{pool}/rejections":       {http.MethodGet: a.listRejections},
		"pools/{pool}/usage":            {http.MethodGet: a.listUsage},
		"pools/{pool}/keys":             {http.MethodGet: a.listKeys, http.MethodPost: a.addKeys},
		"pools/{pool}/keys/{id}":        {http.MethodGet: a.showKey, http.MethodPost: a.changeAll, http.MethodDelete: a.removeKey},
		"pools/{pool}/keys/{id}/{verb}": {http.MethodPost: a.changeKey},
		"pools/{pool}/keys/{id}/test":   {http.MethodPost: a.testKey},
		"ready":                         {http.MethodGet: a.ready},
		"ready/{pool}":                  {http.MethodGet: a.readyPool},
		"":                              {http.MethodGet: a.notFound, http.MethodPost: a.notFound},
	}
	routes := make([]caddy.AdminRoute, 0, len(paths))
	for path, m := range paths {
		routes = append(routes, caddy.AdminRoute{Pattern: observe.AdminPrefix + path, Handler: m})
	}
	return routes
}

// sameOrigin turns away browsers that another site has sent to change something: Caddy does
// so by the origins that are allowed, of which the empty one may be one, for the page. What
// is no browser (curl, the command) passes.
var sameOrigin http.CrossOriginProtection

// ServeHTTP implements caddy.AdminHandler.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	if err := sameOrigin.Check(r); err != nil {
		return apiError(http.StatusForbidden, "another site's page must not change keys: %w", err)
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if handle, ok := m[method]; ok {
		return handle(w, r)
	}
	allowed := make([]string, 0, len(m)+1)
	for method := range m {
		allowed = append(allowed, method)
		if method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return apiError(http.StatusMethodNotAllowed, "method %s is not allowed here: %s", r.Method, strings.Join(allowed, ", "))
}

// apiError is what the caller of the API sees.
func apiError(status int, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return caddy.APIError{HTTPStatus: status, Err: err, Message: err.Error()}
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err, Message: "internal error"}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_, err = w.Write(append(body, '\n'))
	if err != nil {
		return nil //nolint:nilerr // the caller is gone: nobody is left to tell
	}
	return nil
}

func (*Admin) notFound(_ http.ResponseWriter, r *http.Request) error {
	return apiError(http.StatusNotFound, "nothing is at %s: see %spools", r.URL.Path, observe.AdminPrefix)
}

// page answers /keycycler/ itself.
func (*Admin) page(w http.ResponseWriter, r *http.Request) error {
	page(observe.AdminPrefix).ServeHTTP(w, r)
	return nil
}

// listPools answers GET /keycycler/pools.
func (*Admin) listPools(w http.ResponseWriter, _ *http.Request) error {
	now := time.Now()
	all := views()
	pools := make([]observe.PoolStatus, 0, len(all)) // no pool is [], not null
	for _, v := range all {
		pools = append(pools, v.Status(now))
	}
	return writeJSON(w, pools)
}

// views returns the pools that operators see.
func views() []*observe.View { return observe.Live.Views(running()) }

// viewOf returns the one of that name, or nil.
func viewOf(pool string) *observe.View { return observe.Live.View(running(), pool) }

// viewAt returns the pool that the path names.
func viewAt(r *http.Request) (*observe.View, error) {
	name := r.PathValue("pool")
	v := viewOf(name)
	if v == nil {
		return nil, apiError(http.StatusNotFound, "no pool is named %s: %spools lists them", directive.Shown(name), observe.AdminPrefix)
	}
	return v, nil
}

// parseID reads an id, also in upper case, as other tools may have written it.
func parseID(text string) (rotator.ID, bool) { return rotator.ParseID(strings.ToLower(text)) }

// placeAt returns the key that the path names.
func placeAt(r *http.Request) (*observe.View, observe.Place, error) {
	v, err := viewAt(r)
	if err != nil {
		return nil, observe.Place{}, err
	}
	id, ok := parseID(r.PathValue("id"))
	if !ok {
		return nil, observe.Place{}, apiError(http.StatusBadRequest, "that is no key's id: 12 hex digits, as `caddy keycycler id` prints them")
	}
	p, ok := v.Find(id)
	if !ok {
		return nil, observe.Place{}, apiError(http.StatusNotFound, "pool %s has no key %s", v.Name(), id)
	}
	return v, p, nil
}

// showPool answers GET /keycycler/pools/<pool>.
func (*Admin) showPool(w http.ResponseWriter, r *http.Request) error {
	v, err := viewAt(r)
	if err != nil {
		return err
	}
	return writeJSON(w, v.Status(time.Now()))
}

// listRejections answers GET /keycycler/pools/<pool>/rejections.
func (*Admin) listRejections(w http.ResponseWriter, r *http.Request) error {
	v, err := viewAt(r)
	if err != nil {
		return err
	}
	minutes := []observe.MinuteStatus{}
	for _, m := range v.Pools[0].History.Last(time.Now()) {
		if counts := m.ByName(); len(counts) > 0 {
			minutes = append(minutes, observe.MinuteStatus{Minute: m.Start(), Rejections: counts, Served: m.Served()})
		}
	}
	return writeJSON(w, minutes)
}

// listUsage answers GET /keycycler/pools/<pool>/usage.
func (*Admin) listUsage(w http.ResponseWriter, r *http.Request) error {
	v, err := viewAt(r)
	if err != nil {
		return err
	}
	by := cmp.Or(r.URL.Query().Get("by"), observe.UsageBy[0])
	v.Gather(gatherTime)
	all, ok := v.Usage(by, time.Now())
	if !ok {
		return apiError(http.StatusBadRequest, "by: %s is none of %s", directive.Shown(by), strings.Join(observe.UsageBy, ", "))
	}
	return writeJSON(w, all)
}

// listKeys answers GET /keycycler/pools/<pool>/keys.
func (*Admin) listKeys(w http.ResponseWriter, r *http.Request) error {
	v, err := viewAt(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	filter, err := observe.ParseFilter(query)
	if err != nil {
		return apiError(http.StatusBadRequest, "%w", err)
	}
	limit, err := parseLimit(query.Get("limit"))
	if err != nil {
		return err
	}
	after, err := parseAfter(query.Get("after"))
	if err != nil {
		return err
	}
	now := time.Now()
	page := observe.KeysPage{Keys: []observe.KeyStatus{}}
	for p, st := range v.Keys(now, filter, after) {
		if len(page.Keys) == limit {
			page.Next = page.Keys[limit-1].ID
			break
		}
		page.Keys = append(page.Keys, p.KeyStatus(now, st))
	}
	return writeJSON(w, page)
}

func parseLimit(text string) (int, error) {
	if text == "" {
		return observe.DefaultLimit, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > observe.MaxLimit {
		return 0, apiError(http.StatusBadRequest, "limit: %s is out of range: 1 to %d", directive.Shown(text), observe.MaxLimit)
	}
	return limit, nil
}

func parseAfter(text string) (*rotator.ID, error) {
	if text == "" {
		return nil, nil
	}
	id, ok := parseID(text)
	if !ok {
		return nil, apiError(http.StatusBadRequest, "after: %s is no key's id", directive.Shown(text))
	}
	return &id, nil
}

// showKey answers GET /keycycler/pools/<pool>/keys/<id>.
func (*Admin) showKey(w http.ResponseWriter, r *http.Request) error {
	_, p, err := placeAt(r)
	if err != nil {
		return err
	}
	now := time.Now()
	return writeJSON(w, p.KeyStatus(now, p.Status(now)))
}

// changeKey answers POST /keycycler/pools/<pool>/keys/<id>/<verb>.
func (*Admin) changeKey(w http.ResponseWriter, r *http.Request) error {
	v, p, err := placeAt(r)
	if err != nil {
		return err
	}
	verb, err := parseVerb(r.PathValue("verb"), r.Body)
	if err != nil {
		return err
	}
	now := time.Now()
	changeOne(now, v, p, verb)
	return writeJSON(w, p.KeyStatus(now, p.Status(now)))
}

// changeAll answers POST /keycycler/pools/<pool>/keys/<verb>. The verb stands where
// else an id does, and looks like none.
func (*Admin) changeAll(w http.ResponseWriter, r *http.Request) error {
	v, err := viewAt(r)
	if err != nil {
		return err
	}
	verb, err := parseVerb(r.PathValue("id"), r.Body)
	if err != nil {
		return err
	}
	filter, err := observe.ParseFilter(r.URL.Query())
	if err != nil {
		return apiError(http.StatusBadRequest, "%w", err)
	}
	return writeJSON(w, changeAll(time.Now(), v, filter, verb))
}

// verb is what an operator does to a key.
type verb struct {
	name string
	past string        // for the log
	cool time.Duration // of the verb cool
}

var verbs = map[string]verb{
	"cool":    {name: "cool", past: "key was cooled by an operator"},
	"clear":   {name: "clear", past: "key was cleared by an operator"},
	"disable": {name: "disable", past: "key was disabled by an operator"},
	"enable":  {name: "enable", past: "key was enabled by an operator"},
}

// parseVerb reads the verb and, for cool, the body that says for how long.
func parseVerb(name string, body io.Reader) (verb, error) {
	v, ok := verbs[name]
	if !ok {
		return v, apiError(http.StatusNotFound, "unknown verb %s: %s", directive.Shown(name), directive.Known(name, verbs))
	}
	if name != "cool" {
		return v, nil
	}
	var request observe.CoolRequest
	decoder := json.NewDecoder(io.LimitReader(body, maxCoolBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil && !errors.Is(err, io.EOF) {
		return v, apiError(http.StatusBadRequest, `cool: the body must be {"seconds": <n>}`)
	}
	var err error
	if v.cool, err = coolFor(request.Seconds); err != nil {
		return v, apiError(http.StatusBadRequest, "cool: %w", err)
	}
	return v, nil
}

// coolFor turns seconds into a duration, if they are within bounds.
func coolFor(seconds float64) (time.Duration, error) {
	if !(seconds > 0 && seconds <= observe.MaxCool.Seconds()) {
		return 0, fmt.Errorf("seconds: %g is out of range: above 0, at most %.0f", seconds, observe.MaxCool.Seconds())
	}
	return max(time.Duration(math.Round(seconds*float64(time.Second))), 1), nil
}

// do applies the verb to the key and reports whether it changed anything.
func (v verb) do(now time.Time, p observe.Place) bool {
	switch v.name {
	case "cool":
		return p.Pool.Cool(now, p.Slot, rotator.Cooldown{For: v.cool, Reason: reason.Operator, Source: reason.SourceOperator})
	case "clear":
		return p.Pool.Clear(now, p.Slot)
	case "disable":
		return p.Pool.Disable(now, p.Slot)
	default:
		return p.Pool.Enable(now, p.Slot)
	}
}

// changeOne applies the verb to one key of the pool, and tells the log.
func changeOne(now time.Time, v *observe.View, p observe.Place, verb verb) bool {
	changed := verb.do(now, p)
	if changed {
		v.Pools[0].Logger.Info(verb.past, zap.Stringer("key_id", p.ID()), observe.KeyName(p.Name()), zap.Float64("seconds", verb.cool.Seconds()))
	}
	return changed
}

// changeAll applies the verb to all keys that the filter takes, and tells the log
// once.
func changeAll(now time.Time, v *observe.View, f observe.KeyFilter, verb verb) observe.Changed {
	var c observe.Changed
	for p := range v.Keys(now, f, nil) {
		c.Keys++
		if verb.do(now, p) {
			c.Changed++
		}
	}
	v.Pools[0].Logger.Info("all "+strings.Replace(verb.past, "key was", "keys were", 1),
		zap.Int("keys", c.Keys), zap.Int("changed", c.Changed), zap.Float64("seconds", verb.cool.Seconds()))
	return c
}

// Interface guards
var (
	_ caddy.Module       = (*Admin)(nil)
	_ caddy.AdminRouter  = (*Admin)(nil)
	_ caddy.AdminHandler = methods(nil)
)
