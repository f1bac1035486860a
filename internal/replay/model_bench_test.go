//go:build linux

package replay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkModel measures what it costs to find the model in a body of 20 MB: the processor's
// time for the body's way from the kernel into the copy and on to the attempt, as a multiple of
// what it is where nobody looks for the model (find/copy). That again as a multiple of itself
// (copy/copy) tells what the machine's mood makes of it. Of all rounds the best count.
func BenchmarkModel(b *testing.B) {
	const form = "multipart/form-data; boundary=0123456789abcdef"
	image, text := modelImage(20<<20), modelText(20<<20)
	model := `"model":"gpt-x"`
	content := func(of string) string { return `"messages":[{"role":"user","content":"` + of + `"}]` }
	for _, body := range []struct{ name, contentType, text string }{
		{"an image before", "application/json", "{" + content(image) + "," + model + "}"},
		{"an image behind", "application/json", "{" + model + "," + content(image) + "}"},
		{"a text before", "application/json", "{" + content(text) + "," + model + "}"},
		{"a text behind", "application/json", "{" + model + "," + content(text) + "}"},
		{"a form's file before", form, modelForm(image, "whisper-1")},
		{"a form's bytes before", form, modelForm(modelBytes(20<<20), "whisper-1")},
	} {
		for _, kept := range []struct {
			name   string
			limits Limits
		}{
			{"memory", Limits{Memory: 64 << 20, Total: 1 << 30}},
			{"disk", Limits{Memory: 1 << 20, Disk: 64 << 20, Total: 1 << 30}},
		} {
			b.Run(body.name+"/"+kept.name, func(b *testing.B) { benchmarkModel(b, body.contentType, body.text, kept.limits) })
		}
	}
}

func benchmarkModel(b *testing.B, contentType, text string, limits Limits) {
	limits.ByModel = true
	path := filepath.Join(b.TempDir(), "body")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	arms := []*modelArm{{contentType: "application/octet-stream"}, {contentType: "application/octet-stream"}, {contentType: contentType}}
	for b.Loop() {
		for _, i := range rand.Perm(len(arms)) {
			arms[i].took = append(arms[i].took, arms[i].run(b, path, int64(len(text)), &limits))
		}
	}
	plain := arms[0].best()
	b.ReportMetric(float64(plain.Microseconds()), "copy-µs")
	b.ReportMetric(float64(arms[1].best())/float64(plain), "copy/copy")
	b.ReportMetric(float64(arms[2].best())/float64(plain), "find/copy")
	b.ReportMetric(0, "ns/op")
}

// modelArm is one side of the comparison.
type modelArm struct {
	contentType string
	took        []time.Duration
}

func (a *modelArm) best() time.Duration { return slices.Min(a.took) }

// worked returns how long the thread has had a processor.
func worked(b *testing.B) time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
		b.Fatal(err)
	}
	return time.Duration(at.Nano())
}

// run reads the body as an attempt does.
func (a *modelArm) run(b *testing.B, path string, length int64, limits *Limits) time.Duration {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(f))
	r.ContentLength = length
	r.Header.Set("Content-Type", a.contentType)
	buffer, kept := make([]byte, 32<<10), new(Body)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := worked(b)
	kept.Begin(r, limits)
	attempt := kept.Attempt(r)
	for {
		if _, err := attempt.Read(buffer); err != nil {
			break
		}
	}
	took := worked(b) - began
	if _, found := kept.ModelName(); found != (a.contentType != "application/octet-stream") {
		b.Fatal("the model was not found, or was")
	}
	kept.Finish()
	return took
}

// modelImage is an image in base64.
func modelImage(size int) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	random, text := rand.New(rand.NewPCG(1, 2)), make([]byte, size)
	for i := range text {
		text[i] = digits[random.IntN(len(digits))]
	}
	return string(text)
}

// modelText is a long text, with the escapes that such have.
func modelText(size int) string {
	const lines = `He asked: \"Where does it say so?\" and nobody knew, for they had read neither the first page nor the last.\n` +
		`\n\tif err != nil {\n\t\treturn fmt.Errorf(\"reading the configuration: %w\", err)\n\t}\n` +
		`The file is there and says what to do, line by line, and who does not read it will not find out in any other way.\n`
	return strings.Repeat(lines, size/len(lines))
}

func modelBytes(size int) string {
	random, text := rand.New(rand.NewPCG(1, 2)), make([]byte, size)
	for i := range text {
		text[i] = byte(random.Uint32())
	}
	return string(text)
}

// modelForm is a form with a file before the model.
func modelForm(file, model string) string {
	const boundary = "0123456789abcdef"
	var form bytes.Buffer
	for _, part := range []string{"name=\"file\"; filename=\"a\"\r\n\r\n" + file, "name=\"model\"\r\n\r\n" + model} {
		fmt.Fprintf(&form, "--%s\r\nContent-Disposition: form-data; %s\r\n", boundary, part)
	}
	fmt.Fprintf(&form, "--%s--\r\n", boundary)
	return form.String()
}
