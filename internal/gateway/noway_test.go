package gateway

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/keycycler/keycycler/internal/testkit"
)

// gzipWith is a text, compressed, with a comment in its header.
func gzipWith(t *testing.T, comment, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Comment = comment
	_, err := io.WriteString(w, text)
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.String()
}

// farBack is a zstd frame whose reader needs a window of 16 MiB.
func farBack(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{text, strings.Repeat(" ", 1000)} {
		if _, err := io.WriteString(w, piece); err != nil || w.Flush() != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What cannot be read in its content coding is no way around: there are upstreams that do not
// heed the coding, and some that read more than is read here.
func TestCodingsAreNoWayAround(t *testing.T) {
	const may, other = `{"model":"gpt-4o"}`, `{"model":"o3"}`
	const form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n"
	const json, text, multipart = "application/json", "text/plain", "multipart/form-data; boundary=b"
	folded := testkit.Compress(t, "gzip", may)
	for _, row := range []struct {
		what, kind, codings, body string
		status                    int
		late                      bool // where it comes in pieces, it is cut off
	}{
		{"one that it may", json, "gzip", folded, 200, false},
		{"one that it may, in zstd", json, "zstd", testkit.Compress(t, "zstd", may), 200, false},
		{"one that it may, in deflate", json, "deflate", testkit.Compress(t, "deflate", may), 200, false},
		{"one that it may, said to be none", json, "identity", may, 200, false},
		{"plain, said to be gzip", json, "gzip", other, 403, false},
		{"plain, said to be gzip in capitals", json, "GZIP", other, 403, false},
		{"plain, said to be gzip and text", text, "gzip", other, 403, false},
		{"plain, said to be deflate", json, "deflate", other, 403, false},
		{"plain, said to be br", json, "br", other, 403, false},
		{"plain, said to be zstd", json, "zstd", other, 403, false},
		{"plain and large, said to be gzip", json, "gzip", `{"x":"` + strings.Repeat("x", 100_000) + `","model":"o3"}`, 403, false},
		{"plain, behind white space", json, "br", " \n" + other, 403, false},
		{"plain, one that it may, said to be gzip", json, "gzip", may, 403, true},
		{"a window that nobody here has", json, "zstd", farBack(t, other), 403, false},
		{"cut off", json, "gzip", testkit.Compress(t, "gzip", other)[:20], 403, false},
		{"broken behind the name", json, "gzip", folded[:len(folded)-4] + "xxxx", 403, true},
		{"a form behind a compressed one", multipart, "gzip", testkit.Compress(t, "gzip", form+"gpt-4o\r\n--b--\r\n") + "\r\n" + form + "o3\r\n--b--\r\n", 403, false},
		{"a form in a comment", multipart, "gzip", gzipWith(t, "\r\n"+form+"o3\r\n--b--\r\n", form+"gpt-4o\r\n--b--\r\n"), 403, false},
		{"twice in one line", text, "gzip, gzip", testkit.Compress(t, "gzip", testkit.Compress(t, "gzip", other)), 403, false},
		{"twice in two lines", text, "gzip\ngzip", testkit.Compress(t, "gzip", testkit.Compress(t, "gzip", other)), 403, false},
		{"none and another", text, "identity\ngzip", testkit.Compress(t, "gzip", other), 403, false},
		{"none and another in a line", text, "identity, gzip", testkit.Compress(t, "gzip", other), 403, false},
	} {
		for _, length := range []bool{true, false} {
			t.Run(row.what, func(t *testing.T) {
				r := httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(row.body))
				r.Header.Set("Content-Type", row.kind)
				r.Header["Content-Encoding"] = strings.Split(row.codings, "\n")
				status := row.status
				if !length {
					r.ContentLength = -1
				}
				if !length && row.late {
					status = 0
				}
				asksWithModels(t, r, row.body, status, status/200%2)
			})
		}
	}
}

// Parsers of forms differ in what is a field, where it begins and what it is called: none of that
// is a way around, and what forms have otherwise goes on.
func TestFormsAreNoWayAround(t *testing.T) {
	const field = "Content-Disposition: form-data; name=\"model\""
	part := func(header, value string) string { return "--b\r\n" + header + "\r\n\r\n" + value + "\r\n" }
	const end, long = "--b--\r\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	mine := part(field, "gpt-4o")
	for _, row := range []struct {
		what, kind, body string
		status           int
	}{
		{"a file and the field", "", part("Content-Disposition: form-data; name=\"file\"; filename=\"model\"\r\nContent-Type: audio/mpeg", "a\r\n\r\n--\r\n-b\r\n--a{") + mine + end, 200},
		{"a field whose data says how it is encoded", "", part(field+"\r\nContent-Transfer-Encoding: 8BIT", "gpt-4o") + end, 200},
		{"a field with an empty file name", "", part(field+`; filename=""`, "gpt-4o") + end, 200},
		{"a field with an empty file name, another one", "", part(field+`; filename=""`, "o3") + end, 403},
		{"a file in the field", "", part(field+`; filename="a"`, "o3") + end, 403},
		{"another disposition", "", part(`Content-Disposition: x; name="model"`, "o3") + end, 403},
		{"no disposition but a name", "", part(`Content-Disposition: name="model"`, "o3") + end, 403},
		{"a name in capitals", "", part(`Content-Disposition: form-data; NAME=Model`, "o3") + end, 403},
		{"a name in capitals that it may", "", part(`Content-Disposition: form-data; NAME=Model`, "gpt-4o") + end, 200},
		{"a name in RFC 2231's coding", "", part(`Content-Disposition: form-data; name*=utf-8''model`, "o3") + end, 403},
		{"a name in pieces", "", part(`Content-Disposition: form-data; name*0=mod; name*1=el`, "o3") + end, 403},
		{"two names", "", part(`Content-Disposition: form-data; name="model"; name="x"`, "o3") + end, 403},
		{"a quote that ends otherwise", "", part(`Content-Disposition: form-data; x="a\"; name="model"; y="b"`, "o3") + end, 403},
		{"a quoted letter", "", part(`Content-Disposition: form-data; name="m\odel"`, "o3") + end, 403},
		{"two dispositions, the first for some", "", part(field+"\r\nContent-Disposition: form-data; name=\"x\"", "o3") + end, 403},
		{"two dispositions, the second for some", "", part("Content-Disposition: form-data; name=\"x\"\r\n"+field, "o3") + end, 403},
		{"a header that is too long", "", part(`Content-Disposition: form-data; x="`+strings.Repeat(long, 10)+`"; name="model"`, "o3") + end, 403},
		{"another header that is long", "", part("X-A: "+strings.Repeat(long, 20)+"\r\n"+field, "gpt-4o") + end, 200},
		{"a value that is encoded", "", part(field+"\r\nContent-Transfer-Encoding: quoted-printable", "gpt-4o=2Dmini") + end, 403},
		{"a line that ends in CR", "", part("X-A: b\r"+field, "o3") + end, 403},
		{"all lines end in CR", "", strings.ReplaceAll(part(field, "o3")+end, "\r\n", "\r"), 403},
		{"all lines end in LF", "", strings.ReplaceAll(part(field, "o3")+end, "\r\n", "\n"), 403},
		{"all lines end in LF, one that it may", "", strings.ReplaceAll(mine+end, "\r\n", "\n"), 200},
		{"a delimiter behind LF", "", strings.TrimSuffix(part(`Content-Disposition: form-data; name="x"`, "x"), "\r\n") + "\n" + part(field, "o3") + mine + end, 403},
		{"a delimiter within a line", "", strings.TrimSuffix(part(`Content-Disposition: form-data; name="x"`, "xx-"), "\r\n") + part(field, "o3") + mine + end, 403},
		{"a delimiter within a line, behind much", "", strings.TrimSuffix(part(`Content-Disposition: form-data; name="x"`, strings.Repeat(long, 1000)), "\r\n") + part(field, "o3") + mine + end, 403},
		{"behind the end", "", mine + end + part(field, "o3") + end, 403},
		{"without an end", "", part(field, "o3"), 403},
		{"cut off", "", strings.TrimSuffix(part(field, "o3"), "\r\n"), 403},
		{"white space behind the end", "", mine + end + "\r\n", 200},
		{"JSON that is said to be a mixture", "multipart/mixed; boundary=b", `{"model":"o3"}`, 403},
		{"JSON that is said to be a mixture without a boundary", "multipart/mixed", `{"model":"o3"}`, 403},
		{"a mixture, as what some take it for", "multipart/mixed; boundary=b", part(field, "o3") + end, 403},
		{"a mixture", "multipart/related; boundary=b", part("Content-Type: application/json", `{"file":{}}`) + part("Content-Type: text/plain", "x") + end, 200},
		{"a kind that is none", "multipart/form-dataX; boundary=b", `{"model":"o3"}`, 403},
		{"two boundaries", "multipart/form-data; boundary=a; boundary=b", strings.ReplaceAll(part(field, "o3")+end, "--b", "--a") + mine + end, 403},
		{"a boundary that is called so", "multipart/form-data; boundary=----WebKitFormBoundaryX", strings.ReplaceAll(mine+end, "--b", "------WebKitFormBoundaryX"), 200},
		{"two types", "text/plain\nmultipart/form-data; boundary=b", part(field, "o3") + end, 403},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/v1/audio/transcriptions", strings.NewReader(row.body))
			r.Header["Content-Type"] = strings.Split(cmp.Or(row.kind, "multipart/form-data; boundary=b"), "\n")
			asksWithModels(t, r, row.body, row.status, row.status/200%2)
			pieces := httptest.NewRequest("POST", "/v1/audio/transcriptions", iotest.OneByteReader(strings.NewReader(row.body)))
			pieces.ContentLength, pieces.Header = -1, r.Header
			status := row.status
			if row.what == "behind the end" {
				status = 0 // it is cut off there
			}
			asksWithModels(t, pieces, row.body, status, status/200%2)
		})
	}
}

// JSON in two or four bytes for each character is no way around, whatever it is called; what is
// uploaded is none.
func TestWideTextIsNoWayAround(t *testing.T) {
	wide := func(order binary.AppendByteOrder, size int, text string) string {
		var b []byte
		for _, r := range text {
			if size == 2 {
				b = order.AppendUint16(b, uint16(r))
			} else {
				b = order.AppendUint32(b, uint32(r))
			}
		}
		return string(b)
	}
	const text = " {\"model\":\"o3\"}"
	for _, row := range []struct {
		what, body string
		status     int
	}{
		{"UTF-16 with its mark", wide(binary.LittleEndian, 2, "\ufeff"+text), 403},
		{"UTF-16, the other way round, with its mark", wide(binary.BigEndian, 2, "\ufeff"+text), 403},
		{"UTF-16", wide(binary.LittleEndian, 2, text), 403},
		{"UTF-16, the other way round", wide(binary.BigEndian, 2, text), 403},
		{"UTF-32 with its mark", wide(binary.LittleEndian, 4, "\ufeff"+text), 403},
		{"UTF-32", wide(binary.LittleEndian, 4, text), 403},
		{"UTF-32, the other way round", wide(binary.BigEndian, 4, text), 403},
		{"a video", "\x00\x00\x00 ftypisom{", 200},
		{"a sound", "\xff\xfb\x90{", 200},
		{"words in UTF-16", wide(binary.LittleEndian, 2, "\ufeffwords"), 200},
	} {
		t.Run(row.what, func(t *testing.T) {
			for _, kind := range []string{"text/plain", "application/octet-stream", "multipart/mixed"} {
				r := httptest.NewRequest("POST", "/upload/v1beta/files", strings.NewReader(row.body))
				r.Header.Set("Content-Type", kind)
				asksWithModels(t, r, row.body, row.status, row.status/200%2)
			}
		})
	}
}

// A name that stands deeper in a body counts in whatever pieces that comes.
func TestNestedNamesAreNoWayAround(t *testing.T) {
	for _, row := range []struct {
		what, body string
		status     int
	}{
		{"a batch's", `{"requests":[{"params":{"model":"gpt-4o"}},{"params":{"model":"o3"}}]}`, 403},
		{"a batch's that it may", `{"requests":[{"params":{"model":"gpt-4o"}},{"params":{"model":"gpt-4o-mini"}}]}`, 200},
		{"a session's", `{"session":{"model":"o3"}}`, 403},
		{"a tool's, behind a name that it may", `{"model":"gpt-4o","tools":[{"model":"o3"}]}`, 0}, // it is cut off there
		{"a tool's that it may", `{"model":"gpt-4o","tools":[{"model":"gpt-4o"}]}`, 200},
	} {
		t.Run(row.what, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/v1/messages/batches", iotest.OneByteReader(strings.NewReader(row.body)))
			r.ContentLength = -1
			r.Header.Set("Content-Type", "application/json")
			asksWithModels(t, r, row.body, row.status, row.status/200%2)
		})
	}
}

// Each name in a URL counts, also where others look for it.
func TestURLsAreNoWayAround(t *testing.T) {
	for _, row := range []struct {
		uri, upgrade string
		status       int
	}{
		{"/v1/realtime?model=gpt-4o", "websocket", 200},
		{"/v1/realtime?model=gpt-4o&x=1;2&intent=a", "websocket", 200},
		{"/v1/realtime?model=o3", "websocket", 403},
		{"/v1/realtime?model=o3&model=gpt-4o", "websocket", 403},
		{"/v1/realtime?model=gpt-4o&model=o3", "websocket", 403},
		{"/v1/realtime?model=o3&model=", "websocket", 403},
		{"/v1/realtime?model=gpt-4o;model=o3", "websocket", 403},
		{"/v1/realtime?model=gpt-4o&Model=o3", "websocket", 403},
		{"/v1/realtime?model=gpt-4o%zz", "websocket", 403},
		{"/v1/realtime?model=gpt-4o%00", "websocket", 403},
		{"/v1/realtime?model=gpt-4o" + strings.Repeat("x", 300), "websocket", 403},
		{"/v1/realtime/?model=o3", "websocket", 403},
		{"/v1/Realtime?model=o3", "", 403},
		{"/v1/realtime?x=y", "", 200},
		{"/openai/realtime?deployment=gpt-4o", "websocket", 200},
		{"/openai/realtime?deployment=o3", "websocket", 403},
		{"/openai/deployments/gpt-4o/realtime", "WebSocket", 200},
		{"/openai/deployments/gpt-4o/realtime?model=o3", "websocket", 403},
		{"/openai/deployments/gpt-4o/chat/completions?model=o3", "", 200},
		{"/openai/Deployments/o3/chat/completions", "", 403},
		{"/openai/Deployments/gpt-4o/chat/completions", "", 200},
		{"/openai/deployments//o3/chat/completions", "", 403},
		{"/openai/deployments/gpt-4o/../o3/chat/completions", "", 403},
		{"/openai/deployments/gpt-4o%2F..%2Fo3/chat/completions", "", 403},
		{"/openai/deployments/gpt-4o%0a/chat/completions", "", 403},
		{"/openai/deployments/%C4%B0/chat/completions", "", 403},
		{"/v1beta/models/o3:generateContent/", "", 403},
		{"/v1beta/models/gpt-4o:generateContent", "", 200},
		{"/v1beta/models/gpt-4o" + strings.Repeat("x", 300) + ":generateContent", "", 403},
		{"/v1/chat/completions", "h2c", 200},
		// What is said over a websocket is not read, and may be what names the model.
		{"/v1/realtime", "websocket", 403},
		{"/v1/realtime?intent=transcription", "websocket", 403},
		{"/v1/responses", "WebSocket", 403},
		// Nor is the field of a form that names a realtime call's session, and its model.
		{"/v1/realtime/calls", "", 403},
		{"/v1/Realtime/x/../calls/", "", 403},
		{"/v1/realtime/calls/rtc_1/hangup", "", 200},
		{"/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", "websocket", 403},
	} {
		t.Run(row.uri, func(t *testing.T) {
			r := httptest.NewRequest("GET", row.uri, nil)
			if row.upgrade != "" {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", row.upgrade)
			}
			asksWithModels(t, r, "", row.status, row.status/200%2)
		})
	}
}
