package keycycler

import (
	"bytes"
	"strings"
	"testing"
)

// codingName is what Content-Encoding says.
func codingName(compressor string) string { return strings.Replace(compressor, "raw", "deflate", 1) }

func TestDecode(t *testing.T) {
	short := `{"error":{"code":"insufficient_quota"}}`
	// What does not compress well: its beginning stands at the beginning.
	long := make([]byte, 60_000)
	for i, x := 0, uint32(1); i < len(long); i++ {
		x = x*1664525 + 1013904223
		long[i] = byte(x >> 24)
	}
	for name := range compressors {
		t.Run(name, func(t *testing.T) {
			coding := codingName(name)
			for _, content := range []string{"", short, string(long)} {
				body := []byte(compress(t, name, content))
				if got := decode(coding, body); string(got) != content {
					t.Errorf("%d bytes became %d", len(content), len(got))
				}
				if got := decode(" "+strings.ToUpper(coding)+" ", body); string(got) != content {
					t.Errorf("in capitals, %d bytes became %d", len(content), len(got))
				}
				for _, cut := range []int{len(body) / 2, len(body) - 1} {
					if got := decode(coding, body[:cut]); !strings.HasPrefix(content, string(got)) {
						t.Errorf("cut off at %d of %d, the body gives something else", cut, len(body))
					}
				}
			}
			// zstd's blocks are of 128 KiB: half of one gives nothing.
			body := compress(t, name, string(long))
			if got := decode(coding, []byte(body[:len(body)/2])); len(got) < len(long)/4 && name != "zstd" {
				t.Errorf("half of the body gives %d of %d bytes", len(got), len(long))
			}
		})
	}
}

func TestDecodeLeavesWhatItDoesNotKnow(t *testing.T) {
	for _, coding := range []string{"", "identity", "compress", "gzip, br", "nonsense"} {
		if got := decode(coding, []byte("body")); string(got) != "body" {
			t.Errorf("%q: %q", coding, got)
		}
	}
	if got := decode("x-gzip", []byte(compress(t, "gzip", "body"))); string(got) != "body" {
		t.Errorf("x-gzip: %q", got)
	}
}

func TestABombIsBounded(t *testing.T) {
	content := strings.Repeat("\x00", 8<<20)
	for name := range compressors {
		body := []byte(compress(t, name, content))
		if len(body) > maxRejection*2 {
			t.Errorf("%s: %d bytes are no bomb", name, len(body))
		}
		if got := decode(codingName(name), body); len(got) > maxRejection || name != "zstd" && len(got) != maxRejection {
			t.Errorf("%s: %d bytes, want %d", name, len(got), maxRejection)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for name := range compressors {
		body := []byte(compress(f, name, "key sk-demo-1 is bad"))
		f.Add(codingName(name), body)
		f.Add(codingName(name), body[:len(body)/2])
	}
	f.Add("identity", []byte("body"))
	f.Fuzz(func(t *testing.T, coding string, body []byte) {
		before := bytes.Clone(body)
		if got := decode(coding, body); len(got) > max(maxRejection, len(body)) {
			t.Errorf("%d bytes", len(got))
		}
		if !bytes.Equal(body, before) {
			t.Error("decoding has changed the body")
		}
	})
}
