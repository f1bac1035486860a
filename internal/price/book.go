package price

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/catalog"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/usage"
)

// maxTold is of how many models the log says that they have no price: clients choose names.
const maxTold = usage.MaxModels

// Book is the prices of a file, as they are right now: it is read again when it changes. nil
// has none, and costs nothing. It is safe for concurrent use. Stop it.
type Book struct {
	path string // as the config has it
	log  *zap.Logger

	list    atomic.Pointer[List]
	unwatch func()

	mu   sync.Mutex
	told map[string]bool // models that have no price, of which the log has been told
}

// Open reads the file at the path, which may be a placeholder, and watches it. It returns nil
// for no path. Errors name the option and the file.
func Open(path string, log *zap.Logger) (*Book, error) {
	if path == "" {
		return nil, nil
	}
	b := &Book{path: path, log: log, told: make(map[string]bool)}
	in := keyset.Inputs{Paths: []string{path}}
	state := in.Sources()
	if err := b.read(); err != nil {
		return nil, err
	}
	b.unwatch = in.Watch(state, b.reread, func(err error) {
		log.Warn("prices were not read again: going on with the last good ones", zap.Error(err))
	})
	return b, nil
}

// read reads the file. One that is bad changes nothing.
func (b *Book) read() error {
	err := keyset.ReadFile(caddy.NewReplacer(), b.path, b.path, func(r io.Reader, _ string) error {
		l, err := read(r)
		if err != nil {
			return fmt.Errorf("%s: %w", b.path, err)
		}
		b.list.Store(l)
		return nil
	})
	if err != nil {
		return fmt.Errorf("prices: %w", err)
	}
	return nil
}

func (b *Book) reread() error {
	if err := b.read(); err != nil {
		return err
	}
	b.mu.Lock()
	clear(b.told)
	b.mu.Unlock()
	l := b.list.Load()
	b.log.Info("prices have changed", zap.Int("models", len(l.exact)+len(l.patterns)))
	return nil
}

// Stop ends the watching. b may be nil.
func (b *Book) Stop() {
	if b != nil {
		b.unwatch()
	}
}

// Cost returns what an answer of the model costs, and whether there is a price of it: see
// List.Cost. b may be nil.
func (b *Book) Cost(model string, t *usage.Tokens) (cost usage.USD, known bool) {
	if b == nil {
		return 0, false
	}
	return b.list.Load().Cost(model, t)
}

// Price says on the bill what the answer costs, and returns that. It tells the log of a model
// that has no price, once. Both may be nil: no prices, and an answer that does not say what it
// used.
func (b *Book) Price(model string, bill *usage.Bill) usage.USD {
	if b == nil || bill == nil {
		return usage.NotPriced
	}
	cost, known := b.Cost(model, &bill.Tokens)
	if !known {
		cost = usage.NoPrice
		b.tell(model)
	}
	bill.Cost = cost
	return cost
}

// tell tells the log that the model has no price, unless it knows, or has heard it of too
// many.
func (b *Book) tell(model string) {
	if !b.tells(model) {
		return
	}
	b.log.Warn("model has no price: its answers cost nothing", zap.String("model", shown(model)), zap.String("prices", b.path))
}

func (b *Book) tells(model string) bool {
	model = model[:min(len(model), catalog.MaxName+1)]
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.told) >= maxTold || b.told[model] {
		return false
	}
	b.told[strings.Clone(model)] = true
	return true
}
