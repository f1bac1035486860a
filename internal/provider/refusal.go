package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keycycler/keycycler/ttl"
)

// maxSDKWait is the longest Retry-After that every official SDK waits for. Past it
// some of them (openai-node) try again within seconds instead, unless
// `x-should-retry: false` says that it is no use.
const maxSDKWait = 60 * time.Second

// Refusal is what a client is told that got no answer.
type Refusal struct {
	Wait     time.Duration // until the first key is ready, in whole seconds, at least one
	Class    ttl.Class     // why the keys cool: InvalidKey or QuotaExhausted where that is all there is
	Limited  bool          // all keys are at the limit of the config …
	Some     bool          // … or some of them are
	Disabled bool          // no key will be ready by itself: an operator has disabled all
	Empty    bool          // likewise, since there is none
	Stopped  bool          // the process stops: nothing else counts
	Bound    bool          // only the key that has made what the request names, or its group, could serve it
	Path     string        // of the request: some providers imitate OpenAI's API at some paths

	Unauthorized bool // the client has no valid token: nothing else counts

	// Model is what the request wants, where the gateway has no such model: nothing else
	// counts. It is the client's text, and may be of any length.
	Model     string
	Forbidden bool // there may be such a model, but not for the client

	// Limit is the client's own limit that the request has met, in words: nothing else
	// counts but the wait, and the class QuotaExhausted for a budget.
	Limit   string
	Counted bool // of tokens
}

// maxModel is how much of a model's name is told to a client, in bytes.
const maxModel = 256

// WriteRefusal writes the answer of a pool that has no key for this request, or that
// does not take it.
func (p *Preset) WriteRefusal(w http.ResponseWriter, f Refusal) error {
	refuse := p.refuse
	f.Model = shortened(f.Model)
	if p.Imitates(f.Path) {
		refuse = openAIError
	}
	body := refuse(f)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if f.Wait > 0 {
		h.Set("Retry-After", f.seconds())
	}
	if f.Disabled || f.Wait > maxSDKWait {
		h.Set("X-Should-Retry", "false")
	}
	w.WriteHeader(f.Status())
	_, err := w.Write(body)
	return err
}

// Status is 429 whatever the keys cool for: a client can do nothing about a key
// that it has never seen, but it can wait. It can do something about its own token.
func (f Refusal) Status() int {
	switch {
	case f.Forbidden:
		return http.StatusForbidden
	case f.Model != "":
		return http.StatusNotFound
	case f.Unauthorized:
		return http.StatusUnauthorized
	case f.unavailable():
		return http.StatusServiceUnavailable
	}
	return http.StatusTooManyRequests
}

// shortened cuts a model's name, and makes it UTF-8.
func shortened(model string) string {
	return strings.ToValidUTF8(model[:min(len(model), maxModel)], "\uFFFD")
}

// unavailable tells whether it is about the gateway, and not about limits.
func (f Refusal) unavailable() bool { return f.Disabled || f.Stopped }

// seconds spells the wait as a whole number of seconds.
func (f Refusal) seconds() string { return strconv.FormatInt(int64(f.Wait/time.Second), 10) }

// message says it to people.
func (f Refusal) message() string {
	again := fmt.Sprintf("Please try again in %s.", f.Wait)
	if f.Bound && f.Model == "" {
		return f.boundMessage(again)
	}
	switch {
	case f.Forbidden && f.Model == "":
		return "You do not have access to all models, and this gateway cannot read which one the request is for."
	case f.Forbidden:
		return "You do not have access to the model `" + f.Model + "`."
	case f.Model != "":
		return "The model `" + f.Model + "` does not exist or you do not have access to it."
	case f.Limit != "":
		return "You are at the limit that this gateway has for you: " + f.Limit + ". " + again
	case f.Stopped:
		return "This gateway is stopping. " + again
	case f.Unauthorized:
		return "Incorrect API key provided: this gateway wants a token of its own as API key."
	case f.Empty:
		return "This gateway has no API key."
	case f.Disabled:
		return "Every API key of this gateway is disabled."
	case f.Limited:
		return "Every API key of this gateway is at the limit that is configured for it. " + again
	case f.Class == ttl.InvalidKey:
		return "The upstream refused every API key of this gateway as invalid. " + again
	case f.Class == ttl.QuotaExhausted:
		return "The quota of every API key of this gateway is spent. " + again
	}
	return "Rate limit reached for every API key of this gateway. " + again
}

// boundMessage is message for a request that other keys could not serve.
func (f Refusal) boundMessage(again string) string {
	const key = "the API key of this gateway that made what the request names"
	switch {
	case f.Disabled:
		return "It is disabled: " + key + "."
	case f.Class == ttl.InvalidKey:
		return "The upstream refused as invalid " + key + ". " + again
	case f.Class == ttl.QuotaExhausted:
		return "The quota is spent of " + key + ". " + again
	}
	return "Rate limit reached for " + key + ". " + again
}

// openAIError gives OpenAI's error object, for which its SDKs raise their own
// RateLimitError or AuthenticationError
// (https://platform.openai.com/docs/guides/error-codes).
func openAIError(f Refusal) []byte {
	type object struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	o := object{Message: f.message(), Type: "requests", Code: "rate_limit_exceeded"}
	switch {
	case f.Forbidden || f.Model != "":
		o.Type, o.Code = "invalid_request_error", "model_not_found"
	case f.Stopped:
		o.Type, o.Code = "server_error", "service_unavailable"
	case f.Disabled:
		o.Type, o.Code = "server_error", "no_api_key_enabled"
	case f.Counted:
		o.Type = "tokens"
	case f.Unauthorized || f.Class == ttl.InvalidKey:
		o.Type, o.Code = "invalid_request_error", "invalid_api_key"
	case f.Class == ttl.QuotaExhausted:
		o.Type, o.Code = "insufficient_quota", "insufficient_quota"
	}
	return errorBody(o)
}

// anthropicError gives Anthropic's error object. Its types go with statuses:
// whatever is a 429 is a rate_limit_error. It has none for 503
// (https://platform.claude.com/docs/en/api/errors).
func anthropicError(f Refusal) []byte {
	type object struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	o := object{"rate_limit_error", f.message()}
	switch {
	case f.Forbidden:
		o.Type = "permission_error"
	case f.Model != "":
		o = object{"not_found_error", "model: " + f.Model}
	case f.Unauthorized:
		o.Type = "authentication_error"
	case f.unavailable():
		o.Type = "api_error"
	}
	return marshal(struct {
		Type      string  `json:"type"`
		Error     object  `json:"error"`
		RequestID *string `json:"request_id"` // Anthropic has never seen the request
	}{Type: "error", Error: o})
}

// geminiError gives a google.rpc.Status, with the wait among its details, where
// Google's clients look for it (https://google.aip.dev/193).
//
// Google itself says 400 to a key that it does not know, and 401 to other credentials:
// its SDKs raise the same error for both, and 401 is what it is.
func geminiError(f Refusal) []byte {
	type detail struct {
		Type       string `json:"@type"`
		RetryDelay string `json:"retryDelay"`
	}
	type object struct {
		Code    int      `json:"code"`
		Message string   `json:"message"`
		Status  string   `json:"status"`
		Details []detail `json:"details,omitempty"`
	}
	o := object{Code: f.Status(), Message: f.message(), Status: "UNAVAILABLE"}
	switch {
	case f.Forbidden:
		o.Status = "PERMISSION_DENIED"
	case f.Model != "":
		o.Status = "NOT_FOUND"
		o.Message = "models/" + f.Model + " is not found. Call ListModels to see the list of available models and their supported methods."
	case f.Unauthorized:
		o.Status = "UNAUTHENTICATED"
	case !f.unavailable():
		o.Status = "RESOURCE_EXHAUSTED"
		o.Details = []detail{{"type.googleapis.com/google.rpc.RetryInfo", f.seconds() + "s"}}
	}
	return errorBody(o)
}

// codeAndMessage is the error object of Azure's services.
type codeAndMessage struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// azureError gives the error object of Azure OpenAI, whose codes are statuses but for that
// of an unknown deployment.
func azureError(f Refusal) []byte {
	if f.Model != "" && !f.Forbidden {
		return errorBody(codeAndMessage{"DeploymentNotFound", "The API deployment `" + f.Model + "` does not exist for this resource."})
	}
	return errorBody(codeAndMessage{strconv.Itoa(f.Status()), f.message()})
}

// gitHubError gives that of GitHub Models, whose codes are words. GitHub repeats
// the message as details, where Azure's SDKs expect a list (OData): they are left
// out.
func gitHubError(f Refusal) []byte {
	o := codeAndMessage{"RateLimitReached", f.message()}
	switch {
	case f.Forbidden:
		o = codeAndMessage{"no_access", "No access to model: " + f.Model}
	case f.Model != "":
		o = codeAndMessage{"unknown_model", "Unknown model: " + f.Model}
	case f.Unauthorized:
		o.Code = "unauthorized"
	case f.unavailable():
		o.Code = "ServiceUnavailable"
	}
	return errorBody(o)
}

// cohereError gives Cohere's error object: a message, and no codes
// (https://docs.cohere.com/reference/errors).
func cohereError(f Refusal) []byte {
	message := f.message()
	if f.Model != "" && !f.Forbidden {
		message = "model '" + f.Model + "' not found, make sure the correct model ID was used and that you have access to the model."
	}
	return marshal(struct {
		Message string `json:"message"`
	}{message})
}

// volcengineError gives OpenAI's error object, but for an unknown model, where Volcengine
// has words of its own.
func volcengineError(f Refusal) []byte {
	if f.Model == "" || f.Forbidden {
		return openAIError(f)
	}
	return errorBody(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Param   string `json:"param"`
		Type    string `json:"type"`
	}{"InvalidEndpointOrModel.NotFound", "The model or endpoint " + f.Model + " does not exist or you do not have access to it.", "", "NotFound"})
}

// errorBody puts a provider's error object where most have it.
func errorBody(object any) []byte {
	return marshal(struct {
		Error any `json:"error"`
	}{object})
}

func marshal(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return append(body, '\n')
}
