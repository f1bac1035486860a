package keycycler

import (
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const (
	// watchInterval is how often keys files are looked at. A change is read when the
	// file has stayed as it is from one look to the next.
	watchInterval = 200 * time.Millisecond

	// maxUnsettled is after how many looks that found another change a file is read
	// all the same: keys that were removed must not live on for as long as somebody
	// goes on changing the file.
	maxUnsettled = 3
)

// filePlaceholder begins a placeholder that stands for a file's content.
const filePlaceholder = "{file."

// watcher looks whether the sources of a handler's keys have changed. It looks at
// what a path leads to, again and again, instead of being told by the file system:
// so it sees renames, swaps of any symbolic link on the way, files that are absent
// for a moment, and file systems that tell nothing.
type watcher struct {
	h        *Handler
	loaded   []source // as they were when they were read last
	before   []source // as they were at the last look
	changing int      // so many looks in a row found another change
	failed   string   // what was said last about keys that could not be read
}

// watched tells whether keys can change without the config.
func (h *Handler) watched() bool {
	for range h.allKeysFiles() {
		return true
	}
	for text := range h.allKeys() {
		if strings.Contains(text, filePlaceholder) {
			return true
		}
	}
	return false
}

// startWatching begins to watch the sources of keys, if they can change. state is
// what they were like just before the keys in use were read.
func (h *Handler) startWatching(state []source) {
	if !h.watched() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { h.watch(ctx, state) })
	h.unwatch = func() {
		cancel()
		done.Wait()
	}
}

// watch looks until ctx ends.
func (h *Handler) watch(ctx context.Context, state []source) {
	w := &watcher{h: h, loaded: state, before: state}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// look reads the keys again when their sources have changed, and are no longer
// changing: an editor may be half-way through.
func (w *watcher) look() {
	now := w.h.sources()
	if same(now, w.before) {
		w.changing = 0
	} else {
		w.changing++
	}
	w.before = now
	if same(now, w.loaded) || w.changing > 0 && w.changing < maxUnsettled {
		return
	}
	w.changing = 0
	err := w.h.reloadKeys()
	w.loaded = now
	switch {
	case err == nil:
		w.failed = ""
	case err.Error() != w.failed:
		w.failed = err.Error()
		w.h.logger.Warn("keys were not read again: going on with the last good ones", zap.Error(err))
	}
}

// source is a place that keys come from, as it was at one moment.
type source struct {
	file   os.FileInfo // nil where there is none
	secret [sha256.Size]byte
}

// sources looks at all places whose keys can change.
func (h *Handler) sources() []source {
	var all []source
	repl := caddy.NewReplacer()
	for text := range h.allKeysFiles() {
		var s source
		if path, err := expand(repl, text); err == nil {
			s.file, _ = os.Stat(path)
		}
		all = append(all, s)
	}
	for text := range h.allKeys() {
		if strings.Contains(text, filePlaceholder) {
			secret, _ := expand(repl, text)
			all = append(all, source{secret: sha256.Sum256([]byte(secret))})
		}
	}
	return all
}

// same tells whether nothing has changed between two looks.
func same(a, b []source) bool {
	return slices.EqualFunc(a, b, func(a, b source) bool {
		if a.file == nil || b.file == nil {
			return a.file == nil && b.file == nil && a.secret == b.secret
		}
		return os.SameFile(a.file, b.file) && a.file.Size() == b.file.Size() && a.file.ModTime().Equal(b.file.ModTime())
	})
}
