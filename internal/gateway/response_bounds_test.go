package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/testkit"
)

// Early hints are kept as many as net/http's client takes, and as large as they can
// be meant: an upstream could make each request hold megabytes otherwise.
func TestEarlyHintsAreBounded(t *testing.T) {
	for _, row := range []struct {
		sentence string
		sizes    []int // of the hints' only value
		sent     string
	}{
		{"all that fit", []int{10, 10}, "[10 10]"},
		{"no more than five", []int{1, 2, 3, 4, 5, 6}, "[1 2 3 4 5]"},
		{"to the last byte", []int{respond.MaxEarlySize - len("Link")}, fmt.Sprint([]int{respond.MaxEarlySize - len("Link")})},
		{"not a byte more", []int{respond.MaxEarlySize - len("Link") + 1}, "[]"},
		{"what still fits behind one that does not", []int{10, respond.MaxEarlySize, 20}, "[10 20]"},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			h := provision(t, 2, nil)
			next := attempts(func(w http.ResponseWriter, _ *http.Request) {
				for _, size := range row.sizes {
					w.Header().Set("Link", strings.Repeat("x", size))
					w.WriteHeader(http.StatusEarlyHints)
				}
				w.Header().Del("Link")
				w.WriteHeader(http.StatusOK)
			})
			w := &hintSizes{ResponseRecorder: httptest.NewRecorder(), sent: []int{}}
			if err := h.ServeHTTP(w, testkit.Post("x"), next); err != nil || fmt.Sprint(w.sent) != row.sent {
				t.Errorf("sent hints of %v, want %s; %v", w.sent, row.sent, err)
			}
		})
	}
}

// hintSizes notes how large the early hints are that are sent.
type hintSizes struct {
	*httptest.ResponseRecorder
	sent []int
}

func (w *hintSizes) WriteHeader(status int) {
	if status == http.StatusEarlyHints {
		w.sent = append(w.sent, len(w.Header().Get("Link")))
		return
	}
	w.ResponseRecorder.WriteHeader(status)
}

// A pooled exchange kept the header of the last response that it held, the early
// hints, and what the client's header had been: a megabyte for each, until the next
// request came by.
func TestAPooledExchangeKeepsNothing(t *testing.T) {
	h := provision(t, 4, nil)
	x := exchanges.New().(*exchange)
	w := httptest.NewRecorder()
	w.Header().Set("Server", "base")
	r := testkit.Post(`{"model":"demo"}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x.begin(h, w, r.WithContext(ctx))
	if !x.pick(time.Now()) {
		t.Fatal("no key")
	}
	x.want.Tried, x.calls, x.latest = append(x.want.Tried, x.drawn.Slot), 1, x.started
	err := x.attempt(attempts(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</hint>")
		w.WriteHeader(http.StatusEarlyHints)
		testkit.Limited.Write(w)
	}))
	if err != nil || len(x.writer.Early) != 1 || x.writer.Head == nil || len(x.met) == 0 || len(x.held) == 0 || x.answer.Kept == nil || len(x.writer.Base.Values) != 1 {
		t.Fatalf("the exchange holds too little for this test: %v", err)
	}
	x.end(nil)
	for _, left := range holds(reflect.ValueOf(x).Elem(), "x") {
		t.Errorf("%s is left", left)
	}
}

// kept is what a pooled exchange may hold: itself, memory without pointers in it, and
// the clock's time zone.
var kept = map[string]bool{"x.writer.Owner": true, "x.writer.Held": true, "x.want.Tried": true, "x.started": true, "x.latest": true, "x.writer.Base.ends": true}

// holds lists what in v points to something, slices to the end of their memory.
func holds(v reflect.Value, path string) (left []string) {
	if kept[path] {
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			left = append(left, holds(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	case reflect.Slice:
		for i, all := 0, v.Slice3(0, v.Cap(), v.Cap()); i < all.Len(); i++ {
			left = append(left, holds(all.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case reflect.Pointer, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.String:
		if !v.IsZero() {
			left = append(left, path)
		}
	default: // numbers, and arrays of bytes
	}
	return left
}
