package ttl

// Class is what an upstream's answer means for the key that was used. The zero
// value is OK.
type Class uint8

const (
	// OK is everything that is none of the classes below: a success, but also
	// a mistake of the client's, a refusal that has nothing to do with the
	// key, and a failure of the upstream's.
	OK Class = iota
	// RateLimited: the key has used up its allowance for now.
	RateLimited
	// QuotaExhausted: the account behind the key has run out of money or has
	// reached a limit that somebody set; time alone does not cure it, unless
	// the answer states a time.
	QuotaExhausted
	// InvalidKey: the upstream does not accept the key at all.
	InvalidKey
	// RequestTooLarge: the request exceeds a limit all by itself, so that no
	// waiting and no other key of that kind helps.
	RequestTooLarge
	// Overloaded: the upstream is short of capacity or limits the gateway's
	// address; the key is as good as before.
	Overloaded
	// Unknown: the upstream refuses, and nobody here knows whether it means the
	// key: a 401, 402, 403 or 412 without a reason that a dialect has, or any
	// failure that speaks of the key's money or standing. It takes other keys to
	// find out.
	Unknown
)

var classNames = [...]string{
	OK:              "ok",
	RateLimited:     "rate_limited",
	QuotaExhausted:  "quota_exhausted",
	InvalidKey:      "invalid_key",
	RequestTooLarge: "request_too_large",
	Overloaded:      "overloaded",
	Unknown:         "unknown",
}

// String returns the class's name, as in "rate_limited", or "none" for a
// value that is not one of the constants.
func (c Class) String() string {
	if int(c) >= len(classNames) {
		return "none"
	}
	return classNames[c]
}

// ParseClass returns the class of that name. It knows the six classes that
// mean something for a key, and so not "ok".
func ParseClass(name string) (Class, bool) {
	for c := RateLimited; int(c) < len(classNames); c++ {
		if classNames[c] == name {
			return c, true
		}
	}
	return OK, false
}
