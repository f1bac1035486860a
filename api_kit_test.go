package keycycler

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// adminMux serves the admin API as Caddy's admin endpoint does.
func adminMux() http.Handler {
	mux := http.NewServeMux()
	for _, route := range new(Admin).Routes() {
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

// ask calls the admin API and returns status and body.
func ask(method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	adminMux().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// askFor decodes the answer, which must be a success.
func askFor[T any](t *testing.T, method, path, body string) (answer T) {
	t.Helper()
	status, text := ask(method, path, body)
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
