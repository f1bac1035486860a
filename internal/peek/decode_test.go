package peek

import (
	"bytes"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit"
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
	for name := range testkit.Compressors {
		t.Run(name, func(t *testing.T) {
			coding := codingName(name)
			for _, content := range []string{"", short, string(long)} {
				body := []byte(testkit.Compress(t, name, content))
				if got := Decode(coding, body); string(got) != content {
					t.Errorf("%d bytes became %d", len(content), len(got))
				}
				if got := Decode(" "+strings.ToUpper(coding)+" ", body); string(got) != content {
					t.Errorf("in capitals, %d bytes became %d", len(content), len(got))
				}
				for _, cut := range []int{len(body) / 2, len(body) - 1} {
					if got := Decode(coding, body[:cut]); !strings.HasPrefix(content, string(got)) {
						t.Errorf("cut off at %d of %d, the body gives something else", cut, len(body))
					}
				}
			}
			// zstd's blocks are of 128 KiB: half of one gives nothing.
			body := testkit.Compress(t, name, string(long))
			if got := Decode(coding, []byte(body[:len(body)/2])); len(got) < len(long)/4 && name != "zstd" {
				t.Errorf("half of the body gives %d of %d bytes", len(got), len(long))
			}
		})
	}
}

func TestDecodeLeavesWhatItDoesNotKnow(t *testing.T) {
	for _, coding := range []string{"", "identity", "compress", "gzip, br", "nonsense"} {
		if got := Decode(coding, []byte("body")); string(got) != "body" {
			t.Errorf("%q: %q", coding, got)
		}
	}
	if got := Decode("x-gzip", []byte(testkit.Compress(t, "gzip", "body"))); string(got) != "body" {
		t.Errorf("x-gzip: %q", got)
	}
}

func TestABombIsBounded(t *testing.T) {
	content := strings.Repeat("\x00", 8<<20)
	for name := range testkit.Compressors {
		body := []byte(testkit.Compress(t, name, content))
		if len(body) > MaxRejection*2 {
			t.Errorf("%s: %d bytes are no bomb", name, len(body))
		}
		if got := Decode(codingName(name), body); len(got) > MaxRejection || name != "zstd" && len(got) != MaxRejection {
			t.Errorf("%s: %d bytes, want %d", name, len(got), MaxRejection)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for name := range testkit.Compressors {
		body := []byte(testkit.Compress(f, name, "key sk-demo-1 is bad"))
		f.Add(codingName(name), body)
		f.Add(codingName(name), body[:len(body)/2])
	}
	f.Add("identity", []byte("body"))
	f.Fuzz(func(t *testing.T, coding string, body []byte) {
		before := bytes.Clone(body)
		if got := Decode(coding, body); len(got) > max(MaxRejection, len(body)) {
			t.Errorf("%d bytes", len(got))
		}
		if !bytes.Equal(body, before) {
			t.Error("decoding has changed the body")
		}
	})
}
