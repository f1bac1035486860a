package usage

import (
	"strings"
	"sync"
	"time"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/keep"
)

const (
	// MaxModels is how many models are told apart that the config does not name: clients
	// choose names.
	MaxModels = 64

	// maxNames bounds the clients and the keys that are told apart. Those of configs are
	// fewer.
	maxNames = 100_000

	// maxLength bounds names, in bytes.
	maxLength = 256

	// MaxPairs is how many pairs of client and model metrics tell apart. The clients of
	// further ones are Other there.
	MaxPairs = 10_000

	// Other stands for all names beyond the bound.
	Other = "other"
)

// Use is a request and what its answer has used.
type Use struct {
	Client string // "": it has no name
	Model  string // the client's own name of it; "": none
	Key    rotator.ID
	Tokens *Tokens // nil: the answer does not say
	Cost   USD     // NotPriced or NoPrice where nobody knows
}

// Ledger counts what a pool's answers have used: in all by client and model, and by client,
// by model and by key for each minute of the last hour and each day (UTC) of the last 30. It
// outlives configs. What other nodes have counted, and this one before its start, it tells
// with its own where the pool's state keeps it. It is safe for concurrent use.
type Ledger struct {
	pool string
	book *keep.Book // of what others have counted

	mu      sync.Mutex
	day     int64           // of the last use
	known   map[string]bool // models that configs name
	seen    int             // others
	models  map[string]*series
	clients map[string]*series
	keys    map[rotator.ID]*series
	totals  map[pair]*account
	unkept  bool // something came in since Take

	// noted are uses that are not counted yet: many at a time take less than each by itself,
	// whose tables and code are in no cache by then.
	noted []noted
}

// noted is a use that is to be counted.
type noted struct {
	client, model string
	key           rotator.ID
	minute        int64
	counts        Counts
}

// atATime is how many uses are counted together.
const atATime = 64

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
	l := &Ledger{
		pool: pool, known: make(map[string]bool), models: make(map[string]*series), clients: make(map[string]*series),
		keys: make(map[rotator.ID]*series), totals: make(map[pair]*account), noted: make([]noted, 0, atATime),
	}
	l.book = keep.NewBook(pool, l)
	return l
}

// Know makes the ledger tell these models apart, whatever others there are.
func (l *Ledger) Know(models []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settle()
	for _, m := range models {
		l.known[m] = true
	}
}

// Note counts a use. It allocates for a name that is new, and for a minute or a day that is.
func (l *Ledger) Note(now time.Time, u Use) {
	minute, _ := numbers(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unkept = true
	l.noted = append(l.noted, noted{u.Client, u.Model, u.Key, minute, oneAnswer(u.Tokens, u.Cost)})
	if len(l.noted) == atATime {
		l.settle()
	}
}

// settle counts what is noted: before anybody looks. l.mu is held.
func (l *Ledger) settle() {
	for i := range l.noted {
		l.count(&l.noted[i])
	}
	clear(l.noted)
	l.noted = l.noted[:0]
}

func (l *Ledger) count(n *noted) {
	if day := dayOf(n.minute); day > l.day {
		l.day = day
		l.forget()
	}
	total, client, model := l.find(n.client, n.model)
	for _, s := range [...]*series{client, model, of(l.keys, n.key)} {
		s.add(n.minute, &n.counts)
	}
	total.add(&n.counts)
}

// find returns where the pair is counted: in all, by client and by model.
func (l *Ledger) find(client, model string) (total *account, ofClient, ofModel *series) {
	if t := l.totals[pair{client, model}]; t != nil && t.client != nil {
		return t, t.client, t.model
	}
	client, model = l.clientName(client), l.modelName(model)
	ofClient, ofModel = of(l.clients, client), of(l.models, model)
	if l.totals[pair{client, model}] == nil && len(l.totals) >= MaxPairs {
		return of(l.totals, pair{Other, model}), ofClient, ofModel
	}
	total = of(l.totals, pair{client, model})
	total.client, total.model = ofClient, ofModel
	return total, ofClient, ofModel
}

// clientName is what a client is counted as.
func (l *Ledger) clientName(name string) string {
	if _, ok := l.clients[name]; ok {
		return name
	}
	if name = label(name); l.clients[name] == nil && len(l.clients) >= maxNames {
		return Other
	}
	return name
}

// label makes a name such that Prometheus takes it, and nobody minds its length.
func label(name string) string {
	return strings.ToValidUTF8(strings.Clone(name[:min(len(name), maxLength)]), "\uFFFD")
}

// modelName is what a model is counted as.
func (l *Ledger) modelName(name string) string {
	if _, ok := l.models[name]; ok {
		return name
	}
	switch name = label(name); {
	case name == "", l.known[name], l.models[name] != nil:
	case l.seen >= MaxModels:
		return Other
	default:
		l.seen++
	}
	return name
}

// of returns what stands there by that name, or anew.
func of[K comparable, V any](all map[K]*V, name K) *V {
	v := all[name]
	if v == nil {
		v = new(V)
		all[name] = v
	}
	return v
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
