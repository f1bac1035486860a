package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keycycler/keycycler/internal/provider"
)

// ending is how the attempt ends that explores a key which is out.
type ending struct {
	name string
	*reply
	upload bool // its body cannot be sent again
	most   float64
}

var endings = []ending{
	{"5xx", &reply{status: 502, body: "bad gateway"}, false, 1},
	{"reset", &reply{resets: true}, false, 1},
	{"client gone", &reply{leaves: true}, false, 0},
	{"body not replayable", knownKey.reply, true, 0},
}

// mended is when the key of row 12 is well again.
const mended = 15 * time.Second

var brokenExploration = row{
	12, "the attempt that explores a key which was out breaks off",
	"nothing is lost but that request, nothing convicted: the key is back within the step and its double",
	func() (all []instance) {
		sample := oneIn{n: 9}
		for _, keys := range []int{2, 3, 5, 10, 50} {
			for _, way := range ways(quick, late) {
				for _, e := range endings {
					s := usual(way, keys, 3*time.Minute)
					s.upload, s.small, s.rule = e.upload, e.upload, func() rule { return breaksOnce(e) }
					s.well = func(at time.Duration, key int) bool { return key > 0 || at >= mended }
					all = append(all, instance{e.name, sample.next(), s, checkBroken(e)})
				}
			}
		}
		return all
	},
}

// breaksOnce is dead at first, then breaks the first call with the first key, if that has
// such a body.
func breaksOnce(e ending) rule {
	over := false
	return func(c *call) *reply {
		switch {
		case c.key > 0 || over:
			return nil
		case c.at < mended:
			return knownKey.reply
		}
		over = true
		if c.v.upload != e.upload {
			return nil
		}
		return e.reply
	}
}

func checkBroken(e ending) func(*verdict) {
	return func(v *verdict) {
		explored, again := never, never
		for _, c := range v.calls {
			switch at := c.at.Seconds(); {
			case c.key > 0 || c.at < mended:
			case explored == never:
				explored = at
			case again == never:
				again = at - explored
			}
		}
		v.must("failed", v.failed(0, forever), e.most*v.factor())
		v.must("key back after s", v.servedWith(0, mended), 65)
		v.note("explored at s %s, again %s s later", short(explored), short(again))
	}
}

// twisted are the cases of other rows, in whose midst something changes.
var twisted = row{
	13, "a reload, a change of the keys file, a second pool of the same keys, in the midst of the rows; two nodes",
	"the same numbers; for two nodes at most twice the calls",
	func() (all []instance) {
		sample := oneIn{n: 43}
		midst := []struct {
			row
			at time.Duration
		}{
			{oddRequests, 5100 * time.Millisecond}, {oneDead, 45 * time.Second}, {mostDead, 3 * time.Second}, {allDead, 5 * time.Second},
			{allStating, 7 * time.Second}, {allLimited, time.Minute}, {oneAtATime, time.Minute}, {addressThrottled, 100 * time.Second},
			{organisation, 5 * time.Second}, {quotaWords, 8 * time.Second}, {oneModel, 12 * time.Second}, {brokenExploration, 20 * time.Second},
		}
		for _, m := range midst {
			for _, c := range m.cases() {
				if !isTwisted(m.number, c) {
					continue
				}
				for _, tw := range twistsOf(m.number, c) {
					twisted := c
					tw.at, twisted.twist = m.at, tw
					twisted.variant, twisted.sample = fmt.Sprintf("as row %d: %s", m.number, c.variant), sample.next()
					all = append(all, twisted)
				}
			}
		}
		return all
	},
}

// twistsOf returns what can happen in the midst of a case. A node does not know how much
// the other one uses of a limit, a key more changes what an oracle knows, and a file has
// one group.
func twistsOf(row int, c instance) []twist {
	switch {
	case row == allLimited.number || row == oneAtATime.number:
		return []twist{reload, secondPool}
	case c.groups > 0:
		return []twist{reload, secondPool, twoNodes}
	}
	return []twist{reload, keysChange, secondPool, twoNodes}
}

// isTwisted chooses the cases: in all ways it would be too many.
func isTwisted(row int, c instance) bool {
	switch {
	case !slices.Contains([]int{1, 2, 5, 10, 50, 60}, c.keys) || c.refuses != quick.refuses || c.speed == late || !c.warm:
		return false
	case c.keys == 50 && row != organisation.number:
		return false
	case row == oneDead.number:
		return strings.HasPrefix(c.variant, "401") || c.variant == brokeFault.name
	}
	return !strings.HasPrefix(c.variant, "dead for 10h") && !strings.HasPrefix(c.variant, "1000/day")
}

// corrected is when the config of row 14 is put right.
const corrected = 2 * time.Minute

var wronglyAsked = row{
	14, "the provider or auth of a pool was wrong, and is corrected by a reload",
	"what the old way of asking proved of invalid keys is void: served at once, by each of the keys within a minute",
	func() (all []instance) {
		sample := oneIn{n: 9}
		asks := []struct {
			name string
			setup
		}{
			{"auth", setup{before: &provider.Auth{Header: "X-Other-Key"}}},
			{"provider", setup{provider: "azure"}},
		}
		for _, keys := range []int{1, 2, 3, 5, 10, 50} {
			for _, way := range ways(quick, late) {
				for _, ask := range asks {
					for _, takesOne := range []bool{false, true} {
						if way.warm || takesOne && keys == 1 {
							continue // it has never worked
						}
						s, name := usual(way, keys, corrected+2*time.Minute), ask.name
						s.setup, s.rule = ask.setup, func() rule { return wantsBearer(takesOne) }
						s.twist = twist{at: corrected, do: func(st *stage) { st.reload(setup{}) }}
						if takesOne {
							name += ", one key is served in the old way too"
						}
						all = append(all, instance{name, sample.next(), s, checkCorrected})
					}
				}
			}
		}
		return all
	},
}

// wantsBearer refuses keys that come in another header, the first one's perhaps not.
func wantsBearer(takesFirst bool) rule {
	return func(c *call) *reply {
		if c.r.Header.Get("Authorization") != "" || takesFirst && c.key == 0 {
			return nil
		}
		return knownKey.reply
	}
}

func checkCorrected(v *verdict) {
	v.must("served after s", v.servedAfter(corrected), 1)
	v.must("failed later", v.failed(corrected+time.Second, forever), 0)
	missing := 0.0
	for key := range v.keys {
		if v.servedWith(key, corrected) > 60 {
			missing++
		}
	}
	v.must("keys not used within a minute", missing, 0)
}

var letterOfTheSeed = row{
	15, "`probe off`",
	"the seed's letter: a key that was refused is not used before its time: by default 60 s, at least 30 s, with a jitter of 10 %",
	func() (all []instance) {
		sample := oneIn{n: 7}
		limits := []struct {
			words
			least, most float64 // seconds between two calls
		}{
			{tooMany, 60, 67}, {tooMany20, 30, 34}, {words{"429 of 90s", retryAfter(90 * time.Second)}, 90, 100},
			{words{"429 of 1h", retryAfter(time.Hour)}, 3600, 3600 * 1.11},
		}
		for _, keys := range []int{2, 5, 10} {
			for _, way := range ways(quick) {
				for _, l := range limits {
					s := usual(way, keys, time.Duration(3*l.most)*time.Second)
					s.rate = calmer(5*time.Minute, 1)
					s.probeOff, s.rule = true, func() rule { return out(1, 0, forever, l.reply) }
					all = append(all, instance{l.name, sample.next(), s, checkLetter(l.least, l.most)})
				}
			}
		}
		return all
	},
}

func checkLetter(least, most float64) func(*verdict) {
	return func(v *verdict) {
		soonest, latest, last := never, 0.0, -1.0
		for _, c := range v.calls {
			if c.key != 0 {
				continue
			}
			at := c.at.Seconds()
			if last >= 0 && at-last < v.refuses.Seconds() {
				continue // the answer was not known yet
			}
			if last >= 0 {
				soonest, latest = min(soonest, at-last), max(latest, at-last)
			}
			last = at
		}
		v.least("soonest again after s", soonest, least)
		v.must("latest", latest, most)
		v.must("failed", v.failed(0, forever), 0)
	}
}
