package shared

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/shared/lua"
)

const (
	// For how long counts stand in Redis from when something was added last: longer than they
	// are told.
	keepMinute = 2 * time.Hour
	keepDay    = 31 * 24 * time.Hour

	// readFields is about how much is read in one call.
	readFields = 10_000
)

// counts is Redis as a keep.Store.
type counts struct{ j *Journal }

// Keeper keeps in Redis what pools count: see keep.Keeper. It looks every three seconds
// whether there is something to send, and reads all five minutes, and when somebody asks.
func (j *Journal) Keeper() *keep.Keeper { return j.keeper }

// spanName is where a span stands.
func (j *Journal) spanName(s keep.Span) string {
	kind := ":m"
	if s.Day {
		kind = ":d"
	}
	return j.names.usage + s.Pool + kind + strconv.FormatInt(s.Number, 10)
}

func (j *Journal) spanNames(spans []keep.Span) []string {
	names := make([]string, len(spans))
	for i, s := range spans {
		names[i] = j.spanName(s)
	}
	return names
}

func keptFor(s keep.Span) int64 {
	if s.Day {
		return keepDay.Milliseconds()
	}
	return keepMinute.Milliseconds()
}

// Add implements keep.Store.
func (c counts) Add(ctx context.Context, node string, batches []keep.Batch) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.j.timeout)
	defer cancel()
	names := make([]string, len(batches))
	args := []any{node, shortName(), keep.MaxNames[0], keep.MaxNames[1], keep.MaxNames[2]}
	for i, b := range batches {
		known := ""
		if b.Known {
			known = "1"
		}
		names[i] = c.j.spanName(b.Span)
		args = append(args, b.Seq, known, keptFor(b.Span), len(b.Cells))
		for _, cell := range b.Cells {
			args = append(args, cell.Name, cell.Append(nil))
		}
	}
	had, err := lua.Count.Run(ctx, c.j.client, names, args...).Int64Slice()
	if err == nil && len(had) != len(batches) {
		err = fmt.Errorf("unexpected reply of %d parts", len(had))
	}
	return had, err
}

// Read implements keep.Store.
func (c counts) Read(ctx context.Context, spans []keep.Span, versions []string) ([]keep.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, c.j.timeout)
	defer cancel()
	args := make([]any, 1, 1+len(versions))
	args[0] = readFields
	for _, v := range versions {
		args = append(args, v)
	}
	replies, err := lua.Counted.Run(ctx, c.j.client, c.j.spanNames(spans), args...).Slice()
	if err != nil {
		return nil, err
	}
	if len(replies) == 0 || len(replies) > len(versions) {
		return nil, fmt.Errorf("unexpected reply of %d parts", len(replies))
	}
	all := make([]keep.Snapshot, 0, len(replies))
	for i, version := range versions[:len(replies)] {
		words, _ := replies[i].([]any)
		all = append(all, decodeSpan(words, version))
	}
	return all, nil
}

// Restore implements keep.Store.
func (c counts) Restore(ctx context.Context, span keep.Span, version string, s keep.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, c.j.timeout)
	defer cancel()
	var names [len(keep.Kinds)]int
	fields := make([]any, 0, 2*(len(s.Cells)+len(s.Had)))
	for _, cell := range s.Cells {
		names[strings.IndexByte(keep.Kinds, cell.Name[0])]++
		fields = append(fields, cell.Name, cell.Append(nil))
	}
	for node, seq := range s.Had {
		fields = append(fields, "@"+node, seq)
	}
	args := append([]any{version, shortName(), keptFor(span), names[0], names[1], names[2]}, fields...)
	return lua.Recount.Run(ctx, c.j.client, []string{c.j.spanName(span)}, args...).Err()
}

// decodeSpan reads what the script says of a span.
func decodeSpan(words []any, known string) (s keep.Snapshot) {
	if len(words) > 0 {
		s.Version, _ = words[0].(string)
	}
	if s.Same = s.Version != "" && s.Version == known; s.Same {
		return s
	}
	s.Had = make(map[string]int64)
	for i := 1; i+1 < len(words); i += 2 {
		field, _ := words[i].(string)
		value, _ := words[i+1].(string)
		if !decodeField(&s, field, value) {
			s.Unsound = true
		}
	}
	return s
}

// decodeField reads a field of a span. It reports false for what no node has written.
func decodeField(s *keep.Snapshot, field, value string) bool {
	if field == "#" {
		return true
	}
	if node, ok := strings.CutPrefix(field, "@"); ok {
		seq, ok := keep.ParseNumber(value)
		if !ok || seq < 1 || len(node) > 40 {
			return false
		}
		s.Had[strings.Clone(node)] = seq
		return true
	}
	c, ok := keep.ParseCounts(value)
	if !ok || !keep.ValidName(field) {
		return false
	}
	s.Cells = append(s.Cells, keep.Cell{Name: field, Counts: c})
	return true
}
