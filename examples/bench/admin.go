package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// admin is the admin endpoint of a gateway.
type admin struct {
	address string
}

// ask sends a request and returns the answer's body. An answer of 400 and above is an
// error.
func (a admin) ask(ctx context.Context, method, path, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+a.address+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(text))
	}
	return text, nil
}

// keysPath is where the keys of a pool are.
func keysPath(pool string) string { return "/keycycler/pools/" + pool + "/keys" }

// ids returns the ids of up to so many keys, in order.
func (a admin) ids(ctx context.Context, pool string, most int) (ids []string, err error) {
	query := url.Values{"limit": {"1000"}}
	for {
		text, err := a.ask(ctx, http.MethodGet, keysPath(pool)+"?"+query.Encode(), "")
		if err != nil {
			return nil, err
		}
		var page struct {
			Keys []struct{ ID string }
			Next string
		}
		if err := json.Unmarshal(text, &page); err != nil {
			return nil, fmt.Errorf("reading the keys: %w", err)
		}
		for _, key := range page.Keys {
			ids = append(ids, key.ID)
		}
		if page.Next == "" || len(ids) >= most {
			return ids[:min(most, len(ids))], nil
		}
		query.Set("after", page.Next)
	}
}

// leaveReady cools all keys of the pool but so many, for longer than anybody measures.
func (a admin) leaveReady(ctx context.Context, pool string, ready int) error {
	if _, err := a.ask(ctx, http.MethodPost, keysPath(pool)+"/cool", `{"seconds":86400}`); err != nil {
		return err
	}
	ids, err := a.ids(ctx, pool, ready)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := a.ask(ctx, http.MethodPost, keysPath(pool)+"/"+id+"/clear", ""); err != nil {
			return err
		}
	}
	return nil
}

// heap returns the bytes on the gateway's heap and stacks, after a garbage collection.
func (a admin) heap(ctx context.Context) (int64, error) {
	text, err := a.ask(ctx, http.MethodGet, "/debug/pprof/heap?gc=1&debug=1", "")
	if err != nil {
		return 0, err
	}
	return parseHeap(string(text))
}

// memory is what a gateway has allocated since its start.
type memory struct {
	Mallocs    uint64 // objects
	TotalAlloc uint64 // bytes
}

// memory returns what the gateway has allocated.
func (a admin) memory(ctx context.Context) (memory, error) {
	var vars struct {
		Memstats memory `json:"memstats"`
	}
	text, err := a.ask(ctx, http.MethodGet, "/debug/vars", "")
	if err != nil {
		return memory{}, err
	}
	if err := json.Unmarshal(text, &vars); err != nil {
		return memory{}, fmt.Errorf("reading what is allocated: %w", err)
	}
	return vars.Memstats, nil
}

// profile takes a CPU profile of so many seconds.
func (a admin) profile(ctx context.Context, seconds int) ([]byte, error) {
	return a.ask(ctx, http.MethodGet, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), "")
}
