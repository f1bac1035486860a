package rotator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// MaxKeyLen is the longest secret that NewKey takes, in bytes. The longest keys
// that providers hand out today have about 200.
const MaxKeyLen = 4096

// idDomain separates a key's id from every other SHA-256 that somebody may have
// made of the same secret.
const idDomain = "keycycler key id v1\x00"

// ID names a key in logs, errors, metrics, shared state and the admin API: the
// first 48 bits of a SHA-256 over a fixed prefix and the secret. It is the same
// on every node, and the secret cannot be had from it.
type ID [6]byte

// String returns the id as 12 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns what String does; it never fails.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// ParseID reads what String wrote; upper-case digits are no id.
func ParseID(text string) (id ID, ok bool) {
	if len(text) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	var again [2 * len(id)]byte
	hex.Encode(again[:], id[:])
	return id, err == nil && string(again[:]) == text
}

// IDOf returns the id of a secret, whether or not the secret is a valid key.
func IDOf(secret string) ID {
	sum := sha256.Sum256([]byte(idDomain + secret))
	return ID(sum[:len(ID{})])
}

// Key is a secret that never shows: every way of printing it gives its id. The
// zero Key is none. Keys are immutable and safe for concurrent use.
//
// In an unexported field, fmt calls no methods. That is why the secret stands
// behind a pointer to a string: of all pointers, fmt follows those to a struct,
// slice, array or map (even nested ones where the verb is wrong for them, as %s
// is), but of this one it never shows more than the address.
type Key struct {
	secret *string // nil: no key
	id     ID
}

// NewKey makes a key of a secret: 1 to MaxKeyLen bytes of visible ASCII (0x21 to
// 0x7e), which is what fits into a header field and a query alike. Errors name
// the id and what is wrong, never the secret.
func NewKey(secret string) (Key, error) {
	if secret == "" {
		return Key{}, errors.New("key is empty")
	}
	id := IDOf(secret)
	if len(secret) > MaxKeyLen {
		return Key{}, fmt.Errorf("key %s is %d bytes long: at most %d are allowed", id, len(secret), MaxKeyLen)
	}
	for i := range len(secret) {
		if c := secret[i]; c < 0x21 || c > 0x7e {
			return Key{}, fmt.Errorf("key %s has %s at byte %d: only visible ASCII is allowed", id, describe(c), i+1)
		}
	}
	return Key{&secret, id}, nil
}

func describe(c byte) string {
	switch {
	case c == ' ':
		return "a space"
	case c < 0x20 || c == 0x7f:
		return "a control character"
	default:
		return "a character outside ASCII"
	}
}

// Secret returns the secret itself: for the request to the upstream, and for
// nothing else.
func (k Key) Secret() string {
	if k.secret == nil {
		return ""
	}
	return *k.secret
}

// ID returns the key's id, all zeros for the zero Key.
func (k Key) ID() ID { return k.id }

// String returns the key's id.
func (k Key) String() string { return k.ID().String() }

// GoString returns the key's id.
func (k Key) GoString() string { return k.String() }

// Format writes the key's id, whatever the verb and flags.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText returns the key's id; JSON, XML and zap's reflection go this way.
func (k Key) MarshalText() ([]byte, error) { return k.ID().MarshalText() }

// MarshalJSON returns the key's id as a JSON string.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + k.String() + `"`), nil }

// LogValue returns the key's id.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Interface guards
var (
	_ fmt.Formatter  = Key{}
	_ fmt.GoStringer = Key{}
	_ slog.LogValuer = Key{}
)
