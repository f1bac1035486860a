package peek

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"
)

// straysIn tells whether the body strays for who is served the model demo only, as it comes in
// through the reader, or is a form that is cut off.
func straysIn(t *testing.T, contentType string, from io.Reader) bool {
	t.Helper()
	var f ModelFinder
	f.Begin(contentType)
	f.Heed(func(model string) bool { return model == "demo" }, false)
	piece := make([]byte, 512)
	for {
		n, err := from.Read(piece)
		f.Write(piece[:n])
		if err != nil {
			return f.Strays() || f.Form != nil && !f.Done()
		}
	}
}

// checkStrays tells whether the body strays, and fails if that depends on how it comes in.
func checkStrays(t *testing.T, contentType string, body []byte, seed uint64) bool {
	t.Helper()
	strays := straysIn(t, contentType, bytes.NewReader(body))
	if got := straysIn(t, contentType, iotest.OneByteReader(bytes.NewReader(body))); got != strays {
		t.Errorf("%q strays %v, byte by byte %v", body, strays, got)
	}
	cut := rand.New(rand.NewPCG(seed, 0)).IntN(len(body) + 1)
	if got := straysIn(t, contentType, io.MultiReader(bytes.NewReader(body[:cut]), bytes.NewReader(body[cut:]))); got != strays {
		t.Errorf("%q strays %v, cut at %d %v", body, strays, cut, got)
	}
	return strays
}

// However a form comes in, it strays where its boundary stands within data, and otherwise not.
func TestBoundaryInData(t *testing.T) {
	const kind = "multipart/form-data; boundary=---ab"
	form := func(data string) []byte {
		return []byte("-----ab\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n" + data + "\r\n-----ab--\r\n")
	}
	for data, want := range map[string]bool{
		"x-----ab":                           true,
		"\n-----ab":                          true,
		"--------------ab":                   true,
		"\r\n---\r\n---------ab\r\n":         true,
		strings.Repeat("-", 600) + "ab":      true,
		strings.Repeat("x", 450) + "-----ab": true,
		"":                                   false,
		"---":                                false,
		"----ab":                             false,
		"-----a\r\nb":                        false,
		"-----aab\r\n--\r\n-----a":           false,
		"ab-----":                            false,
	} {
		for seed := range uint64(20) {
			if got := checkStrays(t, kind, form(data), seed); got != want {
				t.Errorf("%q strays: %v", data, got)
			}
		}
	}
}

// A body of which there is more than is looked at, or that is not in its coding, is cut.
func TestUnfolderIsCut(t *testing.T) {
	large := bytes.Repeat([]byte{0xff}, maxCoded+1)
	for _, row := range []struct {
		what, coding string
		body         []byte
		want         bool
	}{
		{"more than is looked at, in one piece that is the last", "br", large, true},
		{"as much as is looked at, of what is none", "gzip", large[:maxCoded], true},
		{"plain", "gzip", []byte(`{"model":"demo"}`), true},
		{"nothing", "gzip", nil, true},
		{"an empty text", "br", []byte{6}, false},
	} {
		u := NewUnfolder(row.coding)
		u.Write(row.body, true)
		if u.Cut() != row.want {
			t.Errorf("%s: %v", row.what, u.Cut())
		}
	}
}

// FuzzHeededForm looks for a way around: what Go's parser takes for the field is served, or the
// body strays.
func FuzzHeededForm(f *testing.F) {
	for i, test := range formBodies {
		f.Add([]byte(test.body), uint64(i))
	}
	f.Add([]byte(formOf("Content-Disposition: form-data; name*=utf-8''model")), uint64(1))
	f.Add([]byte(formOf("Content-Disposition: form-data; name=\"model\"; filename=\"\"")+"--b\r\n"), uint64(2))
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		if checkStrays(t, formType, body, seed) {
			return
		}
		r := multipart.NewReader(bytes.NewReader(body), "b")
		for {
			part, err := r.NextPart()
			if err != nil {
				return
			}
			value, err := io.ReadAll(part)
			if err == nil && strings.EqualFold(part.FormName(), "model") && part.FileName() == "" && string(value) != "demo" {
				t.Errorf("%q is no stray, and names %q", body, value)
			}
		}
	})
}

// FuzzHeededJSON is FuzzHeededForm for JSON.
func FuzzHeededJSON(f *testing.F) {
	for _, body := range []string{`{"model":"demo"}`, `{"Model":"o3"}`, `{"m\u006fdel":"\ud800"}`, "\ufeff {\"model\":null}", "\x00{\x00\"", `{"a":[{}],"model":"demo","x":"\""}`} {
		f.Add([]byte(body), uint64(len(body)))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		if checkStrays(t, "application/json", body, seed) {
			return
		}
		var named struct{ Model any }
		if json.Unmarshal(body, &named) == nil && named.Model != nil && named.Model != "demo" {
			t.Errorf("%q is no stray, and names %q", body, named.Model)
		}
	})
}
