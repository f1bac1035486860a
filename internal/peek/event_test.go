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

// TestIsWhole: a document ends where its outermost bracket is closed, whatever stands in
// strings.
func TestIsWhole(t *testing.T) {
	for _, row := range []struct {
		sentence, document string
		whole              bool
	}{
		{"an object", `{"a":1}`, true},
		{"with something behind it", `{"a":1} {`, true},
		{"an array of objects", `[{"a":1},{"b":[2]}]`, true},
		{"an object whose end is missing", `{"a":{"b":1}`, false},
		{"brackets within a string", `{"a":"}]"`, false},
		{"a quote within a string", `{"a":"\"}"`, false},
		{"a string that ends with a backslash", `{"a":"\\"}`, true},
		{"with two, and a quote", `{"a":"\\\\\"}"`, false},
		{"an empty string", `{"":""}`, true},
		{"a string that is cut off", `{"a":"b`, false},
		{"a string that is cut off in an escape", `{"a":"b\`, false},
		{"a string that is cut off at its beginning", `{"`, false},
	} {
		if whole := isWhole([]byte(row.document)); whole != row.whole {
			t.Errorf("%s: %t", row.sentence, whole)
		}
	}
}
