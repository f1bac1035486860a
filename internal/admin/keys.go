package admin

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/keycycler/keycycler/internal/observe"
)

// maxKeysBody bounds the body of POST …/keys, in bytes.
const maxKeysBody = 64 << 20

// addKeys answers POST /keycycler/pools/<pool>/keys.
func (*Admin) addKeys(w http.ResponseWriter, r *http.Request) error {
	v, err := viewAt(r)
	if err != nil {
		return err
	}
	keys, err := readKeys(w, r)
	if err != nil {
		return err
	}
	added, err := v.Add(keys)
	if err != nil {
		return refused(err)
	}
	return writeJSON(w, added)
}

// readKeys reads the body. Errors of package json may repeat it, and so are not shown.
func readKeys(w http.ResponseWriter, r *http.Request) (keys observe.NewKeys, err error) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxKeysBody))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&keys)
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return keys, apiError(http.StatusRequestEntityTooLarge, "the body is larger than %d MiB: add the keys in parts", maxKeysBody>>20)
	}
	if err != nil || len(keys.Keys) == 0 {
		return keys, apiError(http.StatusBadRequest, `the body must be {"keys":[{"key":"…","name":"…"}],"file":"…"}: name and file may be left out`)
	}
	return keys, nil
}

// removeKey answers DELETE /keycycler/pools/<pool>/keys/<id>.
func (*Admin) removeKey(w http.ResponseWriter, r *http.Request) error {
	v, p, err := placeAt(r)
	if err != nil {
		return err
	}
	removed, err := v.Remove(p.ID())
	if err != nil {
		return refused(err)
	}
	return writeJSON(w, removed)
}

// refused is an error of changing keys, for the caller of the API.
func refused(err error) error {
	status := http.StatusInternalServerError
	if refusal, ok := errors.AsType[*observe.RefusalError](err); ok {
		status = refusal.Status
	}
	return apiError(status, "%w", err)
}
