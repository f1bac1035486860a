package peek

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
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

// deflater compresses a server's messages as RFC 7692 has it.
type deflater struct {
	t       *testing.T
	w       *flate.Writer
	out     bytes.Buffer
	forgets bool // no message repeats what others said: server_no_context_takeover
	ends    bool // each is a whole text of deflate's
}

func (d *deflater) message(op byte, text string) string {
	d.t.Helper()
	d.out.Reset()
	if d.w == nil || d.forgets || d.ends {
		d.w, _ = flate.NewWriter(&d.out, 9) // the level is one
	}
	_, err := io.WriteString(d.w, text)
	payload := ""
	if d.ends {
		err = errors.Join(err, d.w.Close())
		payload = d.out.String() + "\x00"
	} else {
		err = errors.Join(err, d.w.Flush())
		payload = strings.TrimSuffix(d.out.String(), "\x00\x00\xff\xff")
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return frame(op|compressed, payload)
}

// inFrames cuts a message of one frame into several of so many bytes, and pings between them.
func inFrames(message string, size int) (all string) {
	length, head := len(message), 2
	switch message[1] {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	for at := head; at < length || at == head; at += size {
		op := byte(0)
		if at == head {
			op = message[0] &^ lastFrame
		}
		all += frame(op, message[at:min(at+size, length)]) + frame(0x89, "are you there")
	}
	return all + frame(lastFrame, "")
}

// Compressed messages say what they would say without that, and messages in several frames
// what they would say in one.
func TestFramesOfAnyKind(t *testing.T) {
	const limited = `{"type":"error","error":{"type":"tokens","code":"rate_limit_exceeded"}}`
	const want = "data: " + limited + "\n\n"
	audio := `{"type":"response.audio.delta","error":null,"delta":"` + strings.Repeat("0123456789abcdef", 5000) + `"}`
	for _, row := range []struct {
		why           string
		forgets, ends bool
		texts         []string
		want          string
	}{
		{"an error", false, false, []string{limited}, want},
		{"an error behind others, in words that they had", false, false, []string{audio, `{"code":"rate_limit_exceeded","type":"tokens"}`, limited, audio}, want},
		{"each by itself", true, false, []string{audio, limited, audio}, want},
		{"each a whole text", false, true, []string{audio, limited, audio}, want},
		{"nothing wrong", false, false, []string{audio, audio, "", "{}"}, ""},
		{"a message that is too large for an error", false, false, []string{`{"error":"` + strings.Repeat("x", maxFrame) + `"}`}, ""},
		{"an error behind that", false, false, []string{strings.Repeat("x", 100*maxFrame), limited}, want},
	} {
		plain, coded := "", ""
		d := deflater{t: t, forgets: row.forgets, ends: row.ends}
		for _, text := range row.texts {
			plain += frame(textFrame, text)
			coded += d.message(bytesFrame, audio) + d.message(textFrame, text)
		}
		for how, sent := range map[string]string{"plain": plain, "compressed": coded} {
			for _, piece := range []int{1, 1000, len(sent)} {
				if got := saidIn(sent, piece); got != row.want {
					t.Errorf("%s, %s, by %d: %q, want %q", row.why, how, piece, got, row.want)
				}
			}
		}
	}
}

func TestMessagesOfSeveralFrames(t *testing.T) {
	const limited = `{"type":"error","error":{"code":"rate_limit_exceeded"}}`
	d := deflater{t: t}
	for how, message := range map[string]string{"plain": frame(textFrame, limited), "compressed": d.message(textFrame, limited)} {
		for _, size := range []int{1, 7, 1000} {
			sent := inFrames(message, size)
			for _, piece := range []int{1, 1000} {
				if got := saidIn(sent, piece); got != "data: "+limited+"\n\n" {
					t.Errorf("%s, frames of %d, by %d: %q", how, size, piece, got)
				}
			}
			if cut := saidIn(sent[:len(sent)-2], 1000); cut != "" {
				t.Errorf("%s, frames of %d: %q before the message's end", how, size, cut)
			}
		}
	}
	for _, sent := range []string{
		inFrames(frame(bytesFrame, limited), 10),                                          // no text
		inFrames(frame(textFrame, `{"error":"`+strings.Repeat("x", maxFrame)+`"}`), 1000), // too much of it
		frame(0x00, limited) + frame(lastFrame, limited),                                  // of no message
	} {
		if got := saidIn(sent, 1000); got != "" {
			t.Errorf("%q says %q", sent[:min(len(sent), 50)], got)
		}
	}
}

// saidIn returns the last error in what comes in pieces of this size, "" for none.
func saidIn(sent string, piece int) (said string) {
	var f Frames
	f.Inflate()
	defer f.Stop()
	for rest := []byte(sent); len(rest) > 0; {
		n := min(piece, len(rest))
		if found := f.Write(rest[:n]); found != nil {
			said = string(found)
		}
		rest = rest[n:]
	}
	return said
}

// What goes by never takes more memory than a message may have, whatever it is.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame(textFrame, `{"error":1}`)+closing(1008, "no")), 1, false)
	f.Add([]byte("\x81\xfe\xff\xff1234"), 2, false)
	f.Add([]byte(frame(textFrame|compressed, "\xaaV*J-.\xc9\xcfKU\xb2R2\xac\x05\x00")), 3, true)
	f.Add([]byte(inFrames(frame(textFrame, `{"error":1}`), 4)), 5, true)
	f.Fuzz(func(t *testing.T, sent []byte, piece int, inflates bool) {
		var frames Frames
		if inflates {
			frames.Inflate()
			defer frames.Stop()
		}
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
