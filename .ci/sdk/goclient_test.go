package sdk

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// goClient is the Go module github.com/openai/openai-go.
type goClient struct {
	http2 bool // every answer must come over HTTP/2
}

// connect returns a client and a context that ends with the test.
func (c goClient) connect(t *testing.T, s *stage) (openai.Client, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return openai.NewClient(
		option.WithBaseURL(s.base),
		option.WithAPIKey(clientKey),
		option.WithOrganization("org-demo"),
		option.WithProject("proj_demo"),
		option.WithMaxRetries(s.retries),
		option.WithHTTPClient(&http.Client{Transport: c.checked(t, newTransport(t))}),
	), ctx
}

// newTransport returns a transport that trusts the gateway and uses HTTP/2 where
// it can.
func newTransport(t *testing.T) *http.Transport {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: edge.roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// checked checks the protocol of every answer.
func (c goClient) checked(t *testing.T, next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && (response.ProtoMajor == 2) != c.http2 {
			t.Errorf("the answer came over %s", response.Proto)
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func question() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    "demo-model",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What do keys do?")},
	}
}

func (c goClient) chat(t *testing.T, s *stage) result {
	api, ctx := c.connect(t, s)
	var response *http.Response
	completion, err := api.Chat.Completions.New(ctx, question(), option.WithResponseInto(&response))
	if err != nil {
		return failed(t, err)
	}
	return result{Text: completion.Choices[0].Message.Content, Header: flat(response.Header)}
}

func (c goClient) stream(t *testing.T, s *stage) result {
	api, ctx := c.connect(t, s)
	stream := api.Chat.Completions.NewStreaming(ctx, question())
	defer stream.Close()
	var r result
	for stream.Next() {
		text := stream.Current().Choices[0].Delta.Content
		r.Texts = append(r.Texts, text)
		select {
		case s.up.acknowledged <- text:
		case <-ctx.Done():
			t.Fatal("the upstream waits for no acknowledgement")
		}
	}
	if err := stream.Err(); err != nil {
		return failed(t, err)
	}
	return r
}

func (c goClient) abandon(t *testing.T, s *stage) result {
	api, ctx := c.connect(t, s)
	abortable, abort := context.WithCancel(ctx)
	defer abort()
	stream := api.Chat.Completions.NewStreaming(abortable, question())
	defer stream.Close()
	if !stream.Next() {
		return failed(t, stream.Err())
	}
	abort()
	select {
	case key := <-s.up.left:
		return result{Left: key}
	case <-ctx.Done():
		t.Fatal("the upstream did not see the client go")
		return result{}
	}
}

func (c goClient) upload(t *testing.T, s *stage, path string) result {
	api, ctx := c.connect(t, s)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	object, err := api.Files.New(ctx, openai.FileNewParams{File: file, Purpose: openai.FilePurposeBatch})
	if err != nil {
		return failed(t, err)
	}
	return result{Bytes: object.Bytes}
}

func (c goClient) speech(t *testing.T, s *stage) result {
	api, ctx := c.connect(t, s)
	response, err := api.Audio.Speech.New(ctx, openai.AudioSpeechNewParams{
		Input: "Keys come and keys cool.",
		Model: "tts-1",
		Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")},
	})
	if err != nil {
		return failed(t, err)
	}
	defer response.Body.Close()
	content := newDigester()
	if _, err := io.Copy(content, response.Body); err != nil {
		t.Fatal(err)
	}
	return result{Body: content.digest(), Header: flat(response.Header)}
}

// failed tells what the API error says. Any other error ends the test.
func failed(t *testing.T, err error) result {
	t.Helper()
	var api *openai.Error
	if !errors.As(err, &api) {
		t.Fatalf("not an error of the API: %v", err)
	}
	return result{Failure: &failure{
		RateLimit: api.StatusCode == http.StatusTooManyRequests, // the module has one type for all
		Stranger:  api.StatusCode == http.StatusUnauthorized,
		Status:    api.StatusCode,
		Code:      api.Code,
		Message:   api.Message,
		Header:    flat(api.Response.Header),
	}}
}

// flat gives a header as fetch does: names in lower case, the values of a field
// in one.
func flat(h http.Header) map[string]string {
	m := make(map[string]string, len(h))
	for name, values := range h {
		m[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return m
}
