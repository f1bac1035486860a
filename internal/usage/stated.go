package usage

import "math/bits"

// stated is what an answer states, by what it means.
type stated struct {
	has set // what is stated: the other numbers mean nothing
	n   [fields]int64
}

// set is several of what providers state.
type set uint32

func setOf(which int) set { return 1 << which }

func (s *stated) take(which int, n int64) {
	s.has |= setOf(which)
	s.n[which] = n
}

// of returns the first of the numbers that is stated, or Unknown.
func (s *stated) of(which ...int) int64 {
	for _, w := range which {
		if s.has&setOf(w) != 0 {
			return s.n[w]
		}
	}
	return Unknown
}

// sum adds those of the two numbers that are stated, or returns Unknown.
func (s *stated) sum(one, other int) int64 {
	if s.has&(setOf(one)|setOf(other)) == 0 {
		return Unknown
	}
	return max(s.of(one), 0) + max(s.of(other), 0)
}

// add takes what was stated later in the answer.
func (s *stated) add(later *stated) {
	s.has |= later.has
	for has := later.has; has != 0; has &= has - 1 {
		i := bits.TrailingZeros32(uint32(has))
		s.n[i] = later.n[i]
	}
}

// tokens brings what is stated into kinds that do not overlap, but for reasoning.
func (s *stated) tokens() (t Tokens) {
	t[Cached], t[CacheWrite] = s.of(cachedWithin, cacheRead), s.of(writtenWithin, cacheWritten)
	t[Input] = s.fresh(t.Known(Cached) + t.Known(CacheWrite))
	t[Output], t[Reasoning] = s.of(output, billedOutput, plainOutput), s.of(reasoning, thoughts)
	if n := s.sum(answer, thoughts); n != Unknown {
		t[Output] = n
	}
	if s.besides() {
		t[Output] += t[Reasoning]
	}
	return t
}

// fresh returns the tokens of the request that no cache has to do with; so many have.
func (s *stated) fresh(cached int64) int64 {
	n := s.of(prompt, input, billedInput, plainInput)
	if n == Unknown {
		return Unknown
	}
	if s.within() {
		n = max(n-cached, 0)
	}
	return n + max(s.of(toolPrompt), 0)
}

// within tells whether the tokens of caches are counted in those of the request: Anthropic's
// are not.
func (s *stated) within() bool {
	const inside, beside = 1<<prompt | 1<<cachedWithin | 1<<writtenWithin, 1<<cacheRead | 1<<cacheWritten
	return s.has&inside != 0 || s.has&beside == 0
}

// besides tells of reasoning that is not counted in the output, as the total shows: xAI's.
func (s *stated) besides() bool {
	const all = 1<<prompt | 1<<output | 1<<reasoning | 1<<total
	return s.has&all == all && s.n[reasoning] > 0 && s.n[total] == s.n[prompt]+s.n[output]+s.n[reasoning]
}
