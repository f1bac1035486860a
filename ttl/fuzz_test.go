package ttl

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keycycler/keycycler/ttl/date"
	"github.com/keycycler/keycycler/ttl/walk"
)

// sources are all that a verdict may name.
func sources() []string {
	var all []string
	for _, w := range slices.Concat(toldWaits, reportedWaits) {
		all = append(all, w.source, w.field.name)
		for _, window := range w.windows {
			all = append(all, window.reset.name)
		}
	}
	return all
}

// fuzzedFields are the headers that the two values of FuzzJudge go through.
func fuzzedFields() []field {
	fields := []field{dateField, ageField}
	for _, w := range slices.Concat(toldWaits, reportedWaits) {
		if w.field.name != "" {
			fields = append(fields, w.field)
		}
		for _, window := range w.windows {
			for _, f := range []field{window.limit, window.remaining, window.status, window.used, window.reset} {
				if f.name != "" {
					fields = append(fields, f)
				}
			}
		}
	}
	return append(fields, requestsPeriod, tokensPeriod)
}

func FuzzJudge(f *testing.F) {
	fields, known := fuzzedFields(), sources()
	f.Add(429, uint(4), "Mon, 01 Jun 2026 12:01:30 GMT", uint(0), "Mon, 01 Jun 2026 12:00:00 GMT", []byte(nil), int64(1780315200))
	f.Add(429, uint(7), "24h6m34s", uint(5), "10000", []byte("try again in 9"+strings.Repeat("9", 310)), int64(0))
	f.Add(429, uint(13), `"a";r=0;t=1e308, ";`, uint(2), "1e400", []byte(`{"error":{"message":"Limit 1, Requested 2"}}`), int64(-1))
	for _, c := range loadCases(f) {
		if c.Body != nil {
			f.Add(c.Status, uint(4), "1.5", uint(0), "", []byte(*c.Body), c.Now.Unix())
		}
	}
	f.Fuzz(func(t *testing.T, status int, i uint, v string, j uint, w string, body []byte, now int64) {
		r := Response{Status: status, Body: body, Now: time.Unix(now, 0), Header: map[string][]string{}}
		before := bytes.Clone(body)
		r.Header[fields[i%uint(len(fields))].key] = []string{v, w}
		key := fields[j%uint(len(fields))].key
		r.Header[key] = append(r.Header[key], w)
		for _, d := range dialects {
			got := d.Judge(r)
			if got != d.Judge(r) {
				t.Fatal("two verdicts on one answer")
			}
			if !bytes.Equal(before, body) {
				t.Fatal("the body has changed")
			}
			if got.Class != OK && !d.Judges(status) {
				t.Fatalf("%+v for a status that is not judged", got)
			}
			if got.Class == OK && got != (Verdict{}) {
				t.Fatalf("%+v: ok states something", got)
			}
			if !finite(got.Seconds) || got.Seconds < 0 {
				t.Fatalf("%v seconds", got.Seconds)
			}
			if got.Stated && !slices.Contains(known, got.Source) || !got.Stated && (got.Source != "" || got.Seconds != 0) {
				t.Fatalf("%+v", got)
			}
		}
	})
}

// What both take, duration and time.ParseDuration take for the same.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"6m0s", "120ms", "1.984999999s", "1d2h30m", "1h1h", "5\u00b5s", "0.1us", "1e3s", "-1s", ".5s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := duration(s)
		if ok && (!finite(got) || got < 0) {
			t.Fatalf("duration(%q) = %v", s, got)
		}
		want, err := time.ParseDuration(s)
		if !ok || err != nil {
			return
		}
		// ParseDuration drops what is less than a nanosecond, in every part.
		if d := math.Abs(got - want.Seconds()); d > 1e-9*float64(len(s))+1e-12*got {
			t.Fatalf("duration(%q) = %v, ParseDuration = %v", s, got, want)
		}
	})
}

// The message of a body that encoding/json reads is the one that it reads.
func FuzzReadError(f *testing.F) {
	for _, c := range loadCases(f) {
		if c.Body != nil {
			f.Add([]byte(*c.Body))
		}
	}
	f.Add([]byte(`{"a":[-1,2.5e3,true,null,{}],"error":{"message":"No \xff"}} `))
	f.Fuzz(func(t *testing.T, body []byte) {
		message := readError(body).message
		var e map[string]any
		if json.Unmarshal(body, &e) != nil {
			return
		}
		inner, _ := e["error"].(map[string]any)
		want, _ := inner["message"].(string)
		// Of equal keys encoding/json takes the last; white space from escapes
		// becomes a space here; and what nests too deep counts as broken.
		if want == "" || bytes.ContainsRune(body, '\\') || bytes.Count(body, []byte("error")) != 1 ||
			bytes.Count(body, []byte("message")) != 1 || bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) > walk.MaxDepth {
			return
		}
		if want := strings.ToLower(want); message != want {
			t.Fatalf("readError(%q) = %q, want %q", body, message, want)
		}
	})
}

// What both take, span and duration take for the same; and a span never says
// more than the text that it reads.
func FuzzSpan(f *testing.F) {
	for _, s := range []string{"20s.", "1 hour, 2 minutes and 30 seconds", "86,400 seconds", "00:03:57", "5.03:23:11", "1,234.5s", "~30", ` about 5 minutes`, `":"34s"`, "10:30 utc"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, read := range map[string]func() (float64, bool){
			"span":   func() (float64, bool) { return span(s) },
			"clock":  func() (float64, bool) { return date.Elapsed(s) },
			"spoken": func() (float64, bool) { return spoken(answer{}, s) },
			"onDate": func() (float64, bool) { return onDate(answer{now: noon, body: &noBody}, s) },
		} {
			if v, ok := read(); ok && (!finite(v) || v < 0) {
				t.Fatalf("%s(%q) = %v", name, s, v)
			}
		}
		want, ok := duration(s)
		got, _ := span(s)
		// Within a text units get smaller; h after m begins another duration.
		if ok && got > want*(1+1e-12) {
			t.Fatalf("span(%q) = %v, duration = %v", s, got, want)
		}
	})
}

func FuzzPolicies(f *testing.F) {
	for _, s := range []string{`"burst";r=90;t=10, "daily";r=0;t=36000`, `"peruser";r=0;t=7;pk=:QUJD:`, "limit=100, remaining=0, reset=50", `"a,b;r=1;t=9\"";r=0;t=5`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		w := wait{field: named("ratelimit")}
		s, ok := inPolicies(newAnswer(Response{Header: head("ratelimit", line), Now: noon}), &w)
		if !ok && s.seconds != 0 || !finite(s.seconds) || s.seconds < 0 {
			t.Fatalf("inPolicies(%q) = %v, %v", line, s, ok)
		}
		if ok && !strings.Contains(line, "=0") {
			t.Fatalf("inPolicies(%q) = %v, though something is left", line, s)
		}
	})
}

// Ahead states the same as its long way, which reads every row.
func FuzzAhead(f *testing.F) {
	fields := fuzzedFields()
	f.Add(200, uint(8), "0", uint(10), "59.9s", uint(7), "1e400", int64(1780315200))
	f.Add(204, uint(20), "rejected", uint(21), "1780318800", uint(0), "Mon, 01 Jun 2026 12:01:30 GMT", int64(0))
	f.Fuzz(func(t *testing.T, status int, i uint, u string, j uint, v string, k uint, w string, now int64) {
		r := Response{Status: status, Now: time.Unix(now, 0), Header: map[string][]string{}}
		r.Header[fields[i%uint(len(fields))].key] = []string{u}
		r.Header[fields[j%uint(len(fields))].key] = []string{v, w}
		r.Header[fields[k%uint(len(fields))].key] = []string{w}
		for name, d := range dialects {
			seconds, source, ok := d.Ahead(r)
			if !finite(seconds) || seconds < 0 || ok != (source != "") || !ok && seconds != 0 || ok && status/100 != 2 {
				t.Fatalf("%s: %v, %q, %v", name, seconds, source, ok)
			}
			a := newAnswer(Response{Header: r.Header, Now: r.Now})
			for row := range d.ahead {
				if _, found := d.ahead[row].read(a, &d.ahead[row]); found && !ok && status/100 == 2 {
					t.Fatalf("%s: the short way misses row %d of %v", name, row, r.Header)
				}
			}
		}
	})
}

func FuzzJudgeEvent(f *testing.F) {
	for _, s := range []string{
		`{"type":"error","error":{"type":"rate_limit_error","message":"try again in 9s"}}`,
		`{"type":"response.failed","response":{"error":{"code":"insufficient_quota"}}}`,
		`[{"error":{"code":429,"details":[{"retryDelay":{"seconds":"1","nanos":5}}]}}]`,
		`{"object":"error","code":"1300","type":"rate_limited"}`,
		`{"choices":[{"delta":{"content":"{\"error\":{\"code\":429}}"}}]}`,
	} {
		f.Add([]byte(s))
	}
	for _, c := range loadCases(f) {
		if c.Body != nil {
			f.Add([]byte(*c.Body))
		}
	}
	known := sources()
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		for name, d := range dialects {
			got := d.JudgeEvent(data, noon)
			if got != d.JudgeEvent(data, noon) || !bytes.Equal(before, data) {
				t.Fatalf("%s: two verdicts on %q", name, data)
			}
			if got.Class == OK && got != (Verdict{}) || !finite(got.Seconds) || got.Seconds < 0 || got.Stated && !slices.Contains(known, got.Source) {
				t.Fatalf("%s: %+v for %q", name, got, data)
			}
		}
		// What the whole payload says in a string is nobody's error.
		quoted, err := json.Marshal(string(data))
		if err != nil {
			t.Fatal(err)
		}
		healthy := []byte(`{"choices":[{"delta":{"content":` + string(quoted) + `}}],"error":null}`)
		if got := OpenAI.JudgeEvent(healthy, noon); got != (Verdict{}) {
			t.Fatalf("%+v for %s", got, healthy)
		}
	})
}
