package sdk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// refusal is how the upstream turns a key down.
type refusal struct {
	status     int
	retryAfter int // seconds; 0: no such header
	early      bool
	proof      proof // nil: the answer proves nothing
	body       any
	event      string // not empty: instead of the body, a stream that opens with this
	silent     bool   // nothing comes: instead of all that
}

// silence says nothing, until who asks has left.
func silence() *refusal { return &refusal{silent: true} }

// proof adds headers which prove that the key has nothing left for so many seconds.
// Without them, a limit might be the request's fault as well as the key's.
type proof func(h http.Header, seconds int)

// apiError is OpenAI's error object.
type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    string  `json:"code"`
}

func openAIError(e apiError) any { return map[string]apiError{"error": e} }

// rateLimited turns a key down for so many seconds.
func rateLimited(seconds int) *refusal {
	return &refusal{status: http.StatusTooManyRequests, retryAfter: seconds, body: openAIError(apiError{
		Message: "Rate limit reached for demo-model. Please try again in " + strconv.Itoa(seconds) + "s.",
		Type:    "requests",
		Code:    "rate_limit_exceeded",
	})}
}

func invalidKey() *refusal {
	return &refusal{status: http.StatusUnauthorized, body: openAIError(apiError{
		Message: "Incorrect API key provided. You can find your API key in your account.",
		Type:    "invalid_request_error",
		Code:    "invalid_api_key",
	})}
}

func spentQuota() *refusal {
	return &refusal{status: http.StatusTooManyRequests, body: openAIError(apiError{
		Message: "You exceeded your current quota, please check your plan and billing details.",
		Type:    "insufficient_quota",
		Code:    "insufficient_quota",
	})}
}

// requestsReset says when requests remain again: every refusal says that none do.
func requestsReset(h http.Header, seconds int) {
	h.Set("X-Ratelimit-Reset-Requests", strconv.Itoa(seconds)+"s")
}

// noBalance turns a key down in words that no official client has an error for.
func noBalance() *refusal {
	return &refusal{status: http.StatusPaymentRequired, body: openAIError(apiError{
		Message: "Insufficient Balance",
		Type:    "unknown_error",
		Code:    "invalid_request_error",
	})}
}

// proven turns the key down with a proof.
func (r refusal) proven(p proof) *refusal {
	r.proof = p
	return &r
}

// unread turns the key down before the body was read.
func (r refusal) unread() *refusal {
	r.early = true
	return &r
}

func (r *refusal) answer(w http.ResponseWriter) {
	h := w.Header()
	if r.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	// None of this may be seen by a client that another key serves.
	h.Set("X-Ratelimit-Remaining-Requests", "0")
	if r.proof != nil {
		r.proof(h, r.retryAfter)
	}
	h.Set("X-Request-Id", "refused")
	h.Set("Via", "1.1 upstream")
	if r.event != "" {
		h.Set("Content-Type", "text/event-stream")
		w.WriteHeader(r.status)
		fmt.Fprint(w, r.event)
		return
	}
	writeJSON(w, r.status, r.body)
}

// inOrder turns the first key that arrives down as the first refusal says,
// whichever key that is and however often it comes; the second key as the second
// says, and so on. Later keys are good.
func inOrder(refusals ...*refusal) func(string) *refusal {
	known := make(map[string]*refusal)
	return func(key string) *refusal {
		if _, ok := known[key]; !ok {
			known[key] = nil
			if len(refusals) > 0 {
				known[key], refusals = refusals[0], refusals[1:]
			}
		}
		return known[key]
	}
}

// always turns every key down.
func always(r *refusal) func(string) *refusal {
	return func(string) *refusal { return r }
}

// once turns down what comes first, and nothing after.
func once(r *refusal) func(string) *refusal {
	return func(string) *refusal {
		defer func() { r = nil }()
		return r
	}
}

// never turns no key down.
func never(string) *refusal { return nil }

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // the client may have left
}
