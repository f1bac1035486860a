package peek

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"regexp"
	"strings"
	"testing"
)

const formType = "multipart/form-data; boundary=b"

// formHead is a delimiter and the headers of a field.
const formHead = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n"

// formOf is a body with one part that has these headers and the value "demo".
func formOf(headers string) string { return "--b\r\n" + headers + "\r\n\r\ndemo\r\n--b--\r\n" }

var formBodies = []struct {
	name string
	body string
	want string // "" is none
	open bool   // the answer is not final
}{
	{name: "one field", body: formHead + "demo\r\n--b--\r\n", want: "demo"},
	{name: "no newline at the end", body: formHead + "demo\r\n--b--", want: "demo"},
	{name: "the field first", body: formHead + "demo\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n--b--\r\n", want: "demo"},
	{name: "the field last", body: "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\x00\xff\r\n\r\n" + "\r\n" + formHead + "demo\r\n--b--\r\n", want: "demo"},
	{name: "a preamble and an epilogue", body: "This is\r\na form.\r\n--bb\r\n--b and so on\r\n" + formHead + "demo\r\n--b--\r\n" + formHead + "x\r\n--b--", want: "demo"},
	{name: "newlines are LF", body: "--b\nContent-Disposition: form-data; name=\"model\"\n\ndemo\n--b--\n", want: "demo"},
	{name: "LF, and CR belongs to the name", body: "--b\nContent-Disposition: form-data; name=\"model\"\n\ndemo\r\n--b--\n"},
	{name: "LF within CRLF is data", body: formHead + "demo\n--b--\r\n", open: true},
	{name: "padding behind the delimiters", body: "--b \t\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ndemo\r\n--b  \r\n\r\n\r\n--b--", want: "demo"},
	{name: "of several fields the last counts", body: formHead + "a\r\n" + formHead + "demo\r\n--b--", want: "demo"},
	{name: "an empty one counts as well", body: formHead + "a\r\n" + formHead + "\r\n--b--"},

	{name: "header names in other letters", body: formOf("CONTENT-disposition:Form-Data;NAME=\"model\""), want: "demo"},
	{name: "a name without quotes", body: formOf("Content-Disposition: form-data; name=model"), want: "demo"},
	{name: "spaces around it", body: formOf("Content-Disposition:  form-data ;  name = \"model\" ; x=y"), want: "demo"},
	{name: "headers before and behind", body: formOf("Content-Type: text/plain; name=x\r\nContent-Disposition: form-data; name=\"model\"\r\nX-A: b"), want: "demo"},
	{name: "a folded header", body: formOf("Content-Disposition: form-data;\r\n\tname=\"model\"\r\nX-A: b"), want: "demo"},
	{name: "a long header of another name", body: formOf("X-A: " + strings.Repeat("b", 2000) + "\r\nContent-Disposition: form-data; name=\"model\""), want: "demo"},
	{name: "other parameters with quotes in them", body: formOf(`Content-Disposition: form-data; x="; name=a\""; name="model"`), want: "demo"},
	{name: "a file", body: formOf(`Content-Disposition: form-data; name="model"; filename="a"`)},
	{name: "a file, with the parameters the other way round", body: formOf(`Content-Disposition: form-data; FileName=""; name="model"`)},
	{name: "a file with an encoded name", body: formOf(`Content-Disposition: form-data; name="model"; filename*=UTF-8''a`)},
	{name: "an encoded name, which forms do not have", body: formOf(`Content-Disposition: form-data; name*=UTF-8''model`)},
	{name: "another name", body: formOf(`Content-Disposition: form-data; name="models"`)},
	{name: "a name in other letters", body: formOf(`Content-Disposition: form-data; name="Model"`)},
	{name: "a parameter in another's value", body: formOf(`Content-Disposition: form-data; name="a; name=model"`)},
	{name: "no name", body: formOf(`Content-Disposition: form-data; name`)},
	{name: "a quote that does not end", body: formOf(`Content-Disposition: form-data; name="model`)},
	{name: "an attachment", body: formOf(`Content-Disposition: attachment; name="model"`)},
	{name: "a disposition too long", body: formOf(`Content-Disposition: form-data; name="model"; x=` + strings.Repeat("y", 512))},
	{name: "a part without headers", body: "--b\r\n\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx\r\n--b--"},

	{name: "look-alikes in a file", body: "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n--bx\r\n--c\r\n--\r\n-\r\r\n\n--b\n" + strings.ReplaceAll(formHead, "--b", "--bb") + "x\r\n--b-\r\n--b \rx\r\n--b\r\r\n" + formHead + "demo\r\n--b--", want: "demo"},
	{name: "a look-alike behind the name", body: formHead + "demo\r\n--c\r\n--b--"},
	{name: "a look-alike whose line goes on", body: formHead + "demo\r\n--bx\r\n--b--"},
	{name: "a name that begins as a delimiter does", body: formHead + "--demo\r\n--b--", want: "--demo"},
	{name: "a name that is a dash", body: formHead + "-\r\n--b--", want: "-"},
	{name: "a name that begins with the delimiter", body: formHead + "--b1\r\n--b--"},
	{name: "no data, not even a newline", body: formHead + "--b--"},
	{name: "a newline in the name", body: formHead + "a\r\nb\r\n--b--"},
	{name: "a newline behind the name", body: formHead + "demo\r\n\r\n--b--"},
	{name: "an empty name", body: formHead + "\r\n--b--"},
	{name: "the longest name", body: formHead + strings.Repeat("m", 256) + "\r\n--b--", want: strings.Repeat("m", 256)},
	{name: "a name too long", body: formHead + strings.Repeat("m", 257) + "\r\n--b--"},
	{name: "no UTF-8 in the name", body: formHead + "a\xff\r\n--b--"},

	{name: "nothing", open: true},
	{name: "no part", body: "--b--\r\n"},
	{name: "no delimiter", body: `{"model":"x"}`, open: true},
	{name: "another boundary", body: strings.ReplaceAll(formHead, "--b", "--c") + "x\r\n--c--", open: true},
	{name: "cut off within the name", body: formHead + "demo", open: true},
	{name: "cut off before the delimiter's end", body: formHead + "demo\r\n--b\r", open: true},
	{name: "cut off in the next headers", body: formHead + "demo\r\n--b\r\nX", want: "demo", open: true},
	{name: "cut off in the next model", body: formHead + "demo\r\n" + formHead + "x", open: true},
}

func TestModelInForm(t *testing.T) {
	for _, test := range formBodies {
		t.Run(test.name, func(t *testing.T) {
			f := findModel(formType, []byte(test.body))
			name, ok := f.Model()
			if name != test.want || ok != (test.want != "") || f.Done() == test.open {
				t.Errorf("%q: model %q %v, done %v", test.body, name, ok, f.Done())
			}
			checkSplits(t, formType, []byte(test.body))
		})
	}
}

// TestModelInFormOfGo has a form that mime/multipart writes, with a large file.
func TestModelInFormOfGo(t *testing.T) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	file, err := w.CreateFormFile("file", "speech.mp3")
	if err != nil {
		t.Fatal(err)
	}
	file.Write(binaryText(1 << 20))
	w.WriteField("model", "whisper-1")
	w.Close()
	f := findModel(w.FormDataContentType(), body.Bytes())
	if name, _ := f.Model(); name != "whisper-1" || !f.Done() {
		t.Errorf("model %q, done %v", name, f.Done())
	}
	checkRandomSplits(t, w.FormDataContentType(), body.Bytes(), 1)
}

// modelByMultipart is what Go's parser takes for the last field called model; ok
// tells whether it can read the form.
func modelByMultipart(body []byte) (name string, ok bool) {
	r := multipart.NewReader(bytes.NewReader(body), "b")
	for {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return name, true
		}
		if err != nil {
			return "", false
		}
		disposition := part.Header["Content-Disposition"]
		field, certain := isFieldByMIME(disposition)
		value, err := io.ReadAll(part)
		if err != nil || !certain {
			return "", false
		}
		if field {
			name = string(value)
		}
	}
}

// isFieldByMIME is isModelField by package mime. It is not clear what to make of
// several dispositions, of parameters that are malformed or in RFC 2231's coding,
// and of long ones.
func isFieldByMIME(disposition []string) (field, certain bool) {
	if len(disposition) == 0 {
		return false, true
	}
	if len(disposition) > 1 || len(disposition[0]) > maxFormHeader/2 || strings.ContainsAny(disposition[0], "*\\") {
		return false, false
	}
	kind, parameters, err := mime.ParseMediaType(disposition[0])
	if err != nil {
		return false, false
	}
	_, file := parameters["filename"]
	return kind == "form-data" && parameters["name"] == "model" && !file, true
}

func FuzzModelForm(f *testing.F) {
	for i, test := range formBodies {
		f.Add([]byte(test.body), uint64(i))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		checkRandomSplits(t, formType, body, seed)
		// Go's parser overlooks some ways to be cut off.
		checkAgainstMultipart(t, append(bytes.Clone(body), "\r\n--b--\r\n"...))
		checkAgainstMultipart(t, append(bytes.Clone(body), "\n--b--\n"...))
	})
}

// FuzzModelFormParts puts what the fuzzer finds where it matters: into the data of
// a file and of the field.
func FuzzModelFormParts(f *testing.F) {
	f.Add([]byte("\r\n--bb\r\n"), []byte("demo"), "Content-Type: text/plain", false, uint64(1))
	f.Add([]byte("\n--b\n\r\r\n-"), []byte("--"), "x: y\r\n z", true, uint64(2))
	f.Fuzz(func(t *testing.T, file, value []byte, header string, lf bool, seed uint64) {
		var body bytes.Buffer
		body.WriteString("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n" + header + "\r\n\r\n")
		body.Write(file)
		body.WriteString("\r\n--b\r\n" + header + "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n")
		body.Write(value)
		body.WriteString("\r\n--b\r\n\r\n")
		body.Write(file)
		body.WriteString("\r\n--b--\r\n")
		form := body.Bytes()
		if lf {
			form = bytes.ReplaceAll(form, []byte("\r\n"), []byte("\n"))
		}
		checkRandomSplits(t, formType, form, seed)
		checkAgainstMultipart(t, form)
	})
}

// lastWithTail is a last delimiter that something follows on its line, which Go's
// parser takes for text when it stands in the preamble, and for an error elsewhere.
var lastWithTail = regexp.MustCompile(`(^|\n)--b--[^\r\n]`)

// lastInPreamble is a last delimiter that ends in LF and comes before any part: Go's
// parser expects CRLF until it has seen a part, and takes it for text.
var lastInPreamble = regexp.MustCompile(`^(([^-\n][^\n]*|-[^-\n][^\n]*|--[^b\n][^\n]*|-|--|)\n)*--b--[ \t]*\n`)

func checkAgainstMultipart(t *testing.T, body []byte) {
	t.Helper()
	want, ok := modelByMultipart(body)
	if !ok || lastWithTail.Match(body) || lastInPreamble.Match(body) {
		return
	}
	if !IsModelName([]byte(want)) || strings.HasPrefix(want, "--b") {
		want = "" // what begins with the delimiter is no name here
	}
	f := findModel(formType, body)
	got, _ := f.Model()
	if got != want || !f.Done() {
		t.Errorf("%q: model %q, done %v, want %q", body, got, f.Done(), want)
	}
}
