package peek

import (
	"encoding/binary"
	"strings"
	"testing"
)

// frame is a message of a server.
func frame(op byte, text string) string {
	head := []byte{op}
	switch n := len(text); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return string(head) + text
}

func closing(code uint16, reason string) string {
	return frame(closeFrame, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func TestFrames(t *testing.T) {
	const limited = `{"type":"error","error":{"code":"rate_limit_exceeded"}}`
	healthy := frame(textFrame, `{"type":"session.created","error":null}`) + frame(0x82, strings.Repeat("x", 200)) +
		frame(textFrame, `{"delta":"`+strings.Repeat("x", 70_000)+`"}`) + frame(0x89, "")
	for _, row := range []struct{ why, sent, want string }{
		{"nothing wrong", healthy, ""},
		{"an error", healthy + frame(textFrame, limited) + healthy, "data: " + limited + "\n\n"},
		{"an error in lines", frame(textFrame, "{\n\"error\":1}"), "data: { \"error\":1}\n\n"},
		{"an error of 200 bytes", frame(textFrame, `{"error":"`+strings.Repeat("x", 200)+`"}`), `data: {"error":"` + strings.Repeat("x", 200) + "\"}\n\n"},
		{"a message that is too large for an error", frame(textFrame, `{"error":"`+strings.Repeat("x", maxFrame)+`"}`), ""},
		{"a compressed one", frame(textFrame|0x40, limited), ""},
		{"a usual end", closing(1000, "bye"), ""},
		{"an end for the policy's sake", closing(1008, `no "quota"`), "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"no \\\"quota\\\"\"}}\n\n"},
		{"an end until later", closing(1013, ""), "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"\"}}\n\n"},
		{"an end without a code", frame(closeFrame, ""), ""},
	} {
		for _, piece := range []int{1, 3, 1000, len(row.sent)} {
			var f Frames
			got := ""
			for rest := []byte(row.sent); len(rest) > 0; {
				n := min(piece, len(rest))
				if said := f.Write(rest[:n]); said != nil {
					got = string(said)
				}
				rest = rest[n:]
			}
			if got != row.want {
				t.Errorf("%s, by %d: %q, want %q", row.why, piece, got, row.want)
			}
		}
	}
}

// What goes by never takes more memory than a message may have, whatever it is.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame(textFrame, `{"error":1}`)+closing(1008, "no")), 1)
	f.Add([]byte("\x81\xfe\xff\xff1234"), 2)
	f.Fuzz(func(t *testing.T, sent []byte, piece int) {
		var frames Frames
		for rest := sent; len(rest) > 0; {
			n := min(max(piece, 1), len(rest))
			frames.Write(rest[:n])
			if len(frames.text) > maxFrame || len(frames.head) > 14 {
				t.Fatalf("%d and %d bytes are kept", len(frames.text), len(frames.head))
			}
			rest = rest[n:]
		}
	})
}
