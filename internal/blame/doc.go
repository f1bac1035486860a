// Package blame tells whose fault a refusal is: the key's, the request's, or nobody's. It
// judges answers by the config's rules and the dialect's, says what follows for a key that
// is convicted, and paces a pool in which nothing is served any more.
//
// One principle: an answer is evidence, and a key is convicted by comparison. The same
// request served by another key convicts the keys that refused it. A request that every
// key refuses convicts none.
//
// It knows keys and what answers mean, but neither HTTP nor Caddy, and writes nothing to
// anybody. Time and chance are arguments. A rule about keys and requests goes here.
package blame
