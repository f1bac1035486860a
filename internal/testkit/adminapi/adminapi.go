// Package adminapi asks the admin API within a test's process. It is apart from testkit,
// whose users the API imports. Helpers of tests that look as operators do go here.
package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/admin"
)

// Mux serves the admin API as Caddy's admin endpoint does.
func Mux() http.Handler {
	mux := http.NewServeMux()
	for _, route := range new(admin.Admin).Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			var failed caddy.APIError
			switch err := route.Handler.ServeHTTP(w, r); {
			case errors.As(err, &failed):
				w.WriteHeader(failed.HTTPStatus)
				json.NewEncoder(w).Encode(failed)
			case err != nil:
				w.WriteHeader(http.StatusInternalServerError)
				fmt.Fprint(w, err)
			}
		})
	}
	return mux
}

// Ask calls the admin API and returns status and body.
func Ask(method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	Mux().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// AskFor decodes the answer, which must be a success.
func AskFor[T any](t *testing.T, method, path, body string) (answer T) {
	t.Helper()
	status, text := Ask(method, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&answer); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return answer
}
