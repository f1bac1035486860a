package usage

// stated is what an answer states, by what it means; 0 for nothing, otherwise one more than
// the number.
type stated [fields]int64

// of returns the first of the numbers that is stated, or Unknown.
func (s *stated) of(which ...int) int64 {
	for _, w := range which {
		if s[w] > 0 {
			return s[w] - 1
		}
	}
	return Unknown
}

// sum adds those of the numbers that are stated, or returns Unknown.
func (s *stated) sum(which ...int) int64 {
	n := int64(Unknown)
	for _, w := range which {
		if s[w] > 0 {
			n = max(n, 0) + s[w] - 1
		}
	}
	return n
}

// add takes what was stated later in the answer.
func (s *stated) add(later *stated) {
	for i, n := range later {
		if n > 0 {
			s[i] = n
		}
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
	return s.of(prompt, cachedWithin, writtenWithin) != Unknown || s.of(cacheRead, cacheWritten) == Unknown
}

// besides tells of reasoning that is not counted in the output, as the total shows: xAI's.
func (s *stated) besides() bool {
	in, out, thought, all := s.of(prompt), s.of(output), s.of(reasoning), s.of(total)
	return in != Unknown && out != Unknown && thought > 0 && all == in+out+thought
}
