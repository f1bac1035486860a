package quota

import (
	"strconv"
	"time"
	"unsafe"
)

// The headers that tell clients of their limits, as OpenAI calls them
// (https://platform.openai.com/docs/guides/rate-limits).
var rateHeaders = [kinds][3]string{
	Requests: {"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
	Tokens:   {"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
}

// rates is room for the values of these headers, which are written once: they are read for as
// long as the answer's header is, which may be after the request.
type rates struct {
	values [6]string
	n      int
	text   [96]byte
}

// Tell puts the client's limits for requests and tokens into an answer's header, in the place
// of others of that name: how much there may be, how much is left, and in what time all of it
// is there again. It does not allocate at the first call.
func (s *Stay) Tell(at int64, header map[string][]string) {
	if s == nil {
		return
	}
	r := &s.rates
	if r.n > 0 {
		r = new(rates)
	}
	s.allowance.mu.Lock()
	defer s.allowance.mu.Unlock()
	text := r.text[:0]
	for _, m := range s.allowance.meters {
		if names := &rateHeaders[m.kind]; names[0] != "" {
			text = r.tell(m, at, header, names, text)
		}
	}
}

// tell puts those of a limit into the header, and appends their values to the text.
func (r *rates) tell(m *Meter, at int64, header map[string][]string, names *[3]string, text []byte) []byte {
	left, reset := m.left(at)
	r.set(header, names[0], m.most)
	begin := len(text)
	text = strconv.AppendInt(text, left, 10)
	r.set(header, names[1], written(text[begin:]))
	begin = len(text)
	text = appendDuration(text, time.Duration(max(reset-at, 0)))
	r.set(header, names[2], written(text[begin:]))
	return text
}

// written is the text as a string. Nobody writes its bytes again.
func written(text []byte) string { return unsafe.String(&text[0], len(text)) } //nolint:gosec // they do not change any more

// set makes the value that of the header.
func (r *rates) set(header map[string][]string, name, value string) {
	r.values[r.n] = value
	header[name] = r.values[r.n : r.n+1 : r.n+1]
	r.n++
}

// appendDuration appends a duration as time.Duration.String does, in milliseconds, rounded up.
func appendDuration(b []byte, d time.Duration) []byte {
	ms := int64((d + time.Millisecond - 1) / time.Millisecond)
	switch {
	case ms == 0:
		return append(b, "0s"...)
	case ms < 1000:
		return append(strconv.AppendInt(b, ms, 10), "ms"...)
	}
	hours, minutes := ms/3_600_000, ms/60_000%60
	if hours > 0 {
		b = append(strconv.AppendInt(b, hours, 10), 'h')
	}
	if hours > 0 || minutes > 0 {
		b = append(strconv.AppendInt(b, minutes, 10), 'm')
	}
	b = strconv.AppendInt(b, ms/1000%60, 10)
	if ms %= 1000; ms > 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, 's')
}
