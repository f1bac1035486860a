package live

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// APIClient speaks to a gateway as an SDK does.
type APIClient struct {
	T   testing.TB
	URL string
}

// Call sends a request and returns status and body.
func (c APIClient) Call(method, path, contentType, body string) (int, string) {
	c.T.Helper()
	r := Request(c.T, method, c.URL+path, body)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept-Encoding", "gzip")
	res, answer := Do(c.T, http.DefaultClient, r)
	if res.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(answer))
		if err != nil {
			c.T.Fatal(err)
		}
		answer, _ = io.ReadAll(z)
	}
	return res.StatusCode, string(answer)
}

// JSON does so with a body of JSON.
func (c APIClient) JSON(method, path, body string) (int, string) {
	c.T.Helper()
	return c.Call(method, path, "application/json", body)
}

// Must returns the id in an answer that must be a success.
func (c APIClient) Must(status int, answer string) string {
	c.T.Helper()
	if status != http.StatusOK {
		c.T.Fatalf("answered %d: %s", status, answer)
	}
	_, id, _ := strings.Cut(answer, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	return id
}

// Upload makes a file and returns its id.
func (c APIClient) Upload() string {
	c.T.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	w.WriteField("purpose", "batch")
	part, _ := w.CreateFormFile("file", "input.jsonl")
	io.WriteString(part, strings.Repeat("{}\n", 100))
	w.Close()
	return c.Must(c.Call("POST", "/v1/files", w.FormDataContentType(), form.String()))
}

// Use goes through the life of a file, and reports the statuses that were no success.
func (c APIClient) Use(file string) (failures []int) {
	c.T.Helper()
	for _, step := range [][3]string{
		{"GET", "/v1/files/" + file, ""},
		{"POST", "/v1/chat/completions", `{"model":"gpt-demo","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"` + file + `"}}]}]}`},
		{"POST", "/v1/batches", `{"input_file_id":"` + file + `","endpoint":"/v1/chat/completions"}`},
		{"GET", "/v1/files/" + file + "/content", ""},
		{"DELETE", "/v1/files/" + file, ""},
	} {
		if status, _ := c.JSON(step[0], step[1], step[2]); status != http.StatusOK {
			failures = append(failures, status)
		}
	}
	return failures
}
