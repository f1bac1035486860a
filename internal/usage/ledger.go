package usage

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator"
)

const (
	// MaxModels is how many models are told apart that the config does not name: clients
	// choose names.
	MaxModels = 64

	// maxNames bounds the clients and the keys that are told apart. Those of configs are
	// fewer.
	maxNames = 100_000

	// Other stands for all names beyond the bound.
	Other = "other"
)

// Use is a request and what its answer has used.
type Use struct {
	Client string // "": it has no name
	Model  string // the client's own name of it; "": none
	Key    rotator.ID
	Tokens *Tokens // nil: the answer does not say
}

// Ledger counts what a pool's answers have used: in all by client and model, and by client,
// by model and by key for each minute of the last hour and each day (UTC) of the last 30. It
// outlives configs. It is safe for concurrent use.
type Ledger struct {
	pool string

	mu      sync.Mutex
	day     int64           // of the last use
	known   map[string]bool // models that configs name
	seen    int             // others
	models  map[string]*series
	clients map[string]*series
	keys    map[rotator.ID]*series
	totals  map[pair]*account
}

// pair is what the totals are counted by.
type pair struct{ client, model string }

// account is what a client has used of a model, in all.
type account struct {
	Counts
	client, model *series // to which it belongs; nil: to be looked up
}

// ledgers holds the process's ledgers by the pools' names: as many as there are in configs.
var ledgers sync.Map

// LedgerOf returns the pool's ledger.
func LedgerOf(pool string) *Ledger {
	l, ok := ledgers.Load(pool)
	if !ok {
		l, _ = ledgers.LoadOrStore(pool, newLedger(pool))
	}
	return l.(*Ledger)
}

func newLedger(pool string) *Ledger {
	return &Ledger{
		pool: pool, known: make(map[string]bool), models: make(map[string]*series), clients: make(map[string]*series),
		keys: make(map[rotator.ID]*series), totals: make(map[pair]*account),
	}
}

// Know makes the ledger tell these models apart, whatever others there are.
func (l *Ledger) Know(models []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range models {
		l.known[m] = true
	}
}

// Note counts a use. It allocates for a name that is new, and for a minute or a day that is.
func (l *Ledger) Note(now time.Time, u Use) {
	minute, day := numbers(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if day > l.day {
		l.day = day
		l.forget()
	}
	t := l.totals[pair{u.Client, u.Model}]
	if t == nil || t.client == nil {
		t = l.account(l.clientName(u.Client), l.modelName(u.Model))
	}
	for _, s := range [...]*series{t.client, t.model, of(l.keys, u.Key)} {
		s.add(minute, day, u.Tokens)
	}
	t.add(u.Tokens)
}

// account returns the totals of the pair.
func (l *Ledger) account(client, model string) *account {
	t := l.totals[pair{client, model}]
	if t == nil {
		t = new(account)
		l.totals[pair{client, model}] = t
	}
	t.client, t.model = of(l.clients, client), of(l.models, model)
	return t
}

// clientName is what a client is counted as.
func (l *Ledger) clientName(name string) string {
	if _, ok := l.clients[name]; !ok && len(l.clients) >= maxNames {
		return Other
	}
	return name
}

// modelName is what a model is counted as.
func (l *Ledger) modelName(name string) string {
	if _, ok := l.models[name]; ok {
		return name
	}
	switch name = strings.ToValidUTF8(strings.Clone(name), "\uFFFD"); { // as Prometheus wants labels
	case name == "", l.known[name], l.models[name] != nil:
	case l.seen >= MaxModels:
		return Other
	default:
		l.seen++
	}
	return name
}

// of returns the series of that name.
func of[K comparable](all map[K]*series, name K) *series {
	s := all[name]
	if s == nil {
		s = new(series)
		all[name] = s
	}
	return s
}

// forget drops the clients and the keys of which nothing is left to tell. Models stay: they
// are bounded.
func (l *Ledger) forget() {
	drop(l.clients, l.day)
	drop(l.keys, l.day)
	for _, t := range l.totals {
		t.client = nil
	}
}

func drop[K comparable](all map[K]*series, today int64) {
	for name, s := range all {
		if s.days[len(s.days)-1].number <= today-days {
			delete(all, name)
		}
	}
}

// Line is what one client, model or key has used.
type Line struct {
	Name    string
	Minutes []Bucket // of the last hour in which there was something, oldest first
	Days    []Bucket // of the last 30, today among them, likewise
}

// By returns what was used by client, by model or by key (its id), ordered by name, and
// whether it can be told by that.
func (l *Ledger) By(by string, now time.Time) (lines []Line, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch by {
	case "client":
		lines = linesOf(l.clients, now, func(name string) string { return name })
	case "model":
		lines = linesOf(l.models, now, func(name string) string { return name })
	case "key":
		lines = linesOf(l.keys, now, rotator.ID.String)
	default:
		return nil, false
	}
	slices.SortFunc(lines, func(a, b Line) int { return strings.Compare(a.Name, b.Name) })
	return lines, true
}

func linesOf[K comparable](all map[K]*series, now time.Time, name func(K) string) []Line {
	minute, day := numbers(now)
	lines := make([]Line, 0, len(all))
	for k, s := range all {
		if d := since(s.days, day-days+1); len(d) > 0 {
			lines = append(lines, Line{name(k), slices.Clone(since(s.minutes, minute-minutes+1)), slices.Clone(d)})
		}
	}
	return lines
}
