package peek

import "testing"

func TestFirstEvent(t *testing.T) {
	for _, row := range []struct {
		sentence, stream, payload string
		whole                     bool
	}{
		{"an event", "data: a\n\nrest", "a", true},
		{"one with a name", "event: error\ndata:a\n\n", "a", true},
		{"one over several lines", "data: a\ndata: b\n\n", "ab", true},
		{"with CRLF", "event: error\r\ndata: a\r\n\r\n", "a", true},
		{"one that is not at its end", "data: a\n", "a", false},
		{"one that is cut off", "data: a", "a", false},
		{"nothing", "", "", false},
	} {
		payload, whole := FirstEvent([]byte(row.stream))
		if string(payload) != row.payload || whole != row.whole {
			t.Errorf("%s: %q, %t", row.sentence, payload, whole)
		}
	}
}
