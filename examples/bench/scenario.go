package main

import "time"

// scenario is one thing to compare: what clients send, and before which pool.
type scenario struct {
	name  string
	about string

	connections int
	http2       bool // one connection with TLS, and as many streams as connections
	open        bool // requests come at a fixed rate: half of what bare Caddy can do
	body        int  // bytes of the request's
	path        string
	chunks      int // of a response that is a stream

	keys     int // of the pool, of which …
	limited  int // … the upstream answers these with 429, and
	cooling  int // so many percent cool from the start
	options  string
	priced   bool   // there is a file of prices
	proxy    string // options of keycycler's reverse_proxy
	redis    redisUse
	rejected bool // keycycler is measured with one rejected attempt in each request, too
	to       base // what keycycler is compared with

	// What keycycler is compared with holds the keys too, in a site that nobody asks. With a smaller heap it
	// would collect garbage more often, for the same rubbish, and seem dearer.
	ballast bool
}

// base is what a scenario compares with: two gateways are that.
type base int

const (
	bareCaddy   base = iota
	tenKeys          // keycycler with a pool of fewKeys, all of them ready
	memoryState      // keycycler without state redis
	usageOff         // keycycler that does not read what answers have used
)

// How many keys tenKeys means, and how they begin: they are none of the others.
const (
	fewKeys   = 10
	fewPrefix = "sk-few-demo-"
)

// redisUse is what state keycycler keeps, and what happens there.
type redisUse int

const (
	noRedis   redisUse = iota
	idleRedis          // state redis, and nobody writes
	busyRedis          // another node cools other keys, busyRate times a second
)

const (
	smallBody  = 1 << 10
	mediumBody = 64 << 10
	largeBody  = 10 << 20

	streamChunks = 50

	// chunkPause is what the upstream waits between two chunks of a stream: so long
	// that each travels alone.
	chunkPause = 5 * time.Millisecond
)

// Where the upstream answers how.
const (
	jsonPath   = "/v1/chat/completions" // at once, with about 600 bytes of JSON
	streamPath = "/v1/stream"           // streamChunks events
	holdPath   = "/v1/hold"             // one event, and the stream stays open
	oncePath   = "/v1/once"             // 429 and then as jsonPath, by turns for each worker
)

// pool20 is the pool of scenarios that are not about the pool.
const pool20 = 20

// comesBack lets a rejected key be used again at once, so that every request can
// meet a rejection.
const comesBack = "cooldown {\n\t\t\tmin 0s\n\t\t\tdefault 1s\n\t\t\tjitter 0%\n\t\t}"

// clientLimits make each worker a client with limits that it does not come to.
const clientLimits = "clients {http.request.header." + workerHeader + "} {\n\t\t\t* {\n\t\t\t\trequests 1m 1m\n\t\t\t\ttokens 1000m 1m\n\t\t\t\tconcurrency 100\n\t\t\t}\n\t\t}"

var scenarios = []scenario{
	{name: "json-1k", about: "POST of 1 KB of JSON, 64 connections",
		connections: 64, body: smallBody, path: jsonPath, keys: pool20},
	{name: "json-1k-buffered", about: "the same, and request_buffers in keycycler's reverse_proxy",
		connections: 64, body: smallBody, path: jsonPath, keys: pool20, proxy: "request_buffers 64KiB"},
	{name: "json-1k-1", about: "the same, 1 connection",
		connections: 1, body: smallBody, path: jsonPath, keys: pool20},
	{name: "json-1k-1000", about: "the same, 1,000 connections",
		connections: 1000, body: smallBody, path: jsonPath, keys: pool20},
	{name: "json-1k-open", about: "the same at a fixed rate, half of what bare Caddy can do",
		connections: 256, open: true, body: smallBody, path: jsonPath, keys: pool20},
	{name: "json-1k-http2", about: "the same, HTTP/2 with TLS from the client",
		connections: 64, http2: true, body: smallBody, path: jsonPath, keys: pool20},
	{name: "json-64k", about: "POST of 64 KB",
		connections: 64, body: mediumBody, path: jsonPath, keys: pool20},
	{name: "upload-10m", about: "POST of 10 MB, 4 connections",
		connections: 4, body: largeBody, path: jsonPath, keys: pool20},
	{name: "stream-50", about: "server-sent events: 50 chunks, 5 ms apart",
		connections: 64, body: smallBody, path: streamPath, chunks: streamChunks, keys: pool20},
	{name: "limited-half", about: "10 of 20 keys are limited, and cool after their first 429",
		connections: 64, body: smallBody, path: jsonPath, keys: pool20, limited: 10},
	{name: "rejected-once", about: "each request meets one 429 and is replayed with another key",
		connections: 64, body: smallBody, path: jsonPath, keys: 1000, options: comesBack, rejected: true, ballast: true},
	{name: "keys-1k", about: "1,000 keys, all ready",
		connections: 64, body: smallBody, path: jsonPath, keys: 1000, ballast: true},
	{name: "keys-1k-cooling", about: "1,000 keys, 90 % of them cooling",
		connections: 64, body: smallBody, path: jsonPath, keys: 1000, cooling: 90, ballast: true},
	{name: "keys-100k", about: "100,000 keys, all ready",
		connections: 64, body: smallBody, path: jsonPath, keys: 100_000, ballast: true},
	{name: "keys-100k-cooling", about: "100,000 keys, 99 % of them cooling",
		connections: 64, body: smallBody, path: jsonPath, keys: 100_000, cooling: 99, ballast: true},
	{name: "keys-to-10", about: "100,000 keys, 99 % of them cooling, to 10 that are ready",
		connections: 64, body: smallBody, path: jsonPath, keys: 100_000, cooling: 99, ballast: true, to: tenKeys},
	{name: "redis-idle", about: "state redis, and nobody writes",
		connections: 64, body: smallBody, path: jsonPath, keys: 1000, redis: idleRedis, ballast: true},
	{name: "redis-busy", about: "state redis: another node cools 300 other keys a second",
		connections: 64, body: smallBody, path: jsonPath, keys: 1000, redis: busyRedis, ballast: true},
	{name: "redis-to-memory", about: "state redis, and nobody writes, to state memory",
		connections: 64, body: smallBody, path: jsonPath, keys: 1000, redis: idleRedis, to: memoryState},
	{name: "usage-to-off", about: "usage on, JSON of 1 KB, to usage off",
		connections: 64, body: smallBody, path: jsonPath, keys: pool20, to: usageOff},
	{name: "usage-to-off-stream", about: "usage on, server-sent events: 50 chunks, 5 ms apart, to usage off",
		connections: 64, body: smallBody, path: streamPath, chunks: streamChunks, keys: pool20, to: usageOff},
	{name: "limits-to-off", about: "usage, prices, and limits of 64 clients, JSON of 1 KB, to usage off",
		connections: 64, body: smallBody, path: jsonPath, keys: pool20, options: clientLimits, priced: true, to: usageOff},
}

// subject is one of what a scenario compares.
type subject struct {
	name      string
	keycycler bool
	gateway   int // which of the processes
	path      string
}

// The names of subjects.
const (
	bareName     = "bare"
	againName    = "bare again"
	cyclerName   = "keycycler"
	rejectedName = "keycycler, one rejection"
)

// gateways is how many processes the subjects are.
const gateways = 3

// subjects returns what is compared: bare Caddy, the same again in another process
// (their ratio is what noise looks like), keycycler.
func (s *scenario) subjects() []subject {
	all := []subject{
		{name: bareName, gateway: 0, path: s.path},
		{name: againName, gateway: 1, path: s.path},
		{name: cyclerName, gateway: 2, path: s.path, keycycler: true},
	}
	if s.rejected {
		all = append(all, subject{name: rejectedName, gateway: 2, path: oncePath, keycycler: true})
	}
	return all
}

// groups returns which subjects are driven at the same time: both bare Caddys, and then
// one that is keycycler.
func (s *scenario) groups() (groups [][]int) {
	for i, subject := range s.subjects() {
		if subject.keycycler {
			groups = append(groups, []int{0, 1, i})
		}
	}
	return groups
}
