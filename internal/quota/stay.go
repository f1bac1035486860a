package quota

import "strconv"

// Unknown stands for what an answer does not say.
const Unknown = -1

// Stay is a client's request, from its arrival to its end, and what it holds meanwhile. A nil
// Stay is that of a client without limits: all its methods may be called. Its methods are
// called by one goroutine at a time; so its client may send others.
type Stay struct {
	allowance *Allowance
	client    string
	at        int64  // when it came
	counted   *Meter // that counts it as a request; or nil
	held      Need
	over      Over
	open      bool // it holds its place
	answered  bool // it has an answer …
	served    bool // … which may have used something
	rates     rates
}

// enter makes a request's place, if no limit is in the way. a's lock is held.
func (s *Stay) enter(a *Allowance, at int64, n Need) {
	s.allowance, s.at = a, at
	if s.over = a.check(at, n, anyKind); s.over.Kind != None {
		return
	}
	s.open, s.held = true, n
	a.underWay++
	a.tokens += n.Tokens
	a.cost += n.Cost
	if s.counted = a.meter(Requests); s.counted != nil {
		s.counted.add(at, 1)
	}
}

// Words says the limit to people, and how much there may be.
func (o Over) Words() string {
	const usd = 1e9
	switch o.Kind {
	case Concurrency:
		return strconv.FormatInt(o.Most, 10) + " requests at a time"
	case USDBudget:
		return "a budget of " + strconv.FormatFloat(float64(o.Most)/usd, 'f', -1, 64) + " USD"
	case TokenBudget:
		return "a budget of " + strconv.FormatInt(o.Most, 10) + " tokens"
	}
	return strconv.FormatInt(o.Most, 10) + " " + o.Kind.String()
}

// Over returns the limit that is in the request's way, and whether there is one: then it holds
// nothing.
func (s *Stay) Over() (Over, bool) {
	if s == nil {
		return Over{}, false
	}
	return s.over, s.over.Kind != None
}

// Client returns the client's name, or as much of it as counts; "": it has none.
func (s *Stay) Client() string { return s.client }

// Weight returns that of the client's requests, at least 1.
func (s *Stay) Weight() int {
	if s == nil {
		return 1
	}
	return s.allowance.Weight()
}

// Raise makes the request hold what it needs, of which more is known by now. If there is no
// room for it, the request gives everything back, and [Stay.Over] tells. One that had no room
// for less is told when there is room for this, or it comes in now.
func (s *Stay) Raise(at int64, n Need) {
	if s == nil {
		return
	}
	a := s.allowance
	a.mu.Lock()
	defer a.mu.Unlock()
	if !s.open {
		s.comeAgain(at, n)
		return
	}
	a.hold(s, Need{})
	if s.over = a.check(at, n, costs); s.over.Kind != None {
		s.leave()
		return
	}
	a.hold(s, n)
}

// comeAgain makes a place for the request that had none. a's lock is held.
func (s *Stay) comeAgain(at int64, n Need) {
	if s.over.Kind == None || s.allowance.dropped {
		return // it has ended, or nobody looks at these limits any more
	}
	news := s.over.News
	s.enter(s.allowance, at, n)
	s.over.News = s.over.News || news
}

// hold makes the request hold n instead of what it does. a's lock is held.
func (a *Allowance) hold(s *Stay, n Need) {
	a.tokens += n.Tokens - s.held.Tokens
	a.cost += n.Cost - s.held.Cost
	s.held = n
}

// Answer notes that the client gets an answer with that status.
func (s *Stay) Answer(status int) {
	if s != nil {
		s.answered, s.served = true, status < 300
	}
}

// Abandon notes that the client has left while the upstream was at work: it may have used
// whatever it has asked for.
func (s *Stay) Abandon() {
	if s != nil {
		s.answered, s.served = true, true
	}
}

// Settle counts what the request's answer says that it has used, instead of what it holds:
// Unknown where it does not say. It has ended.
func (s *Stay) Settle(at int64, used Need) {
	if s == nil || !s.open {
		return
	}
	a := s.allowance
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = a.over && !s.answered
	switch {
	case !s.answered:
		used = Need{}
	case !s.served:
		used = Need{max(used.Tokens, 0), max(used.Cost, 0)}
	default:
		used = s.stands(used)
	}
	a.spend(at, used)
	s.leave()
}

// stands returns what was used, or the estimate where that is unknown.
func (s *Stay) stands(used Need) Need {
	if used.Tokens == Unknown {
		used.Tokens = s.held.Tokens
	}
	if used.Cost == Unknown {
		used.Cost = s.held.Cost
	}
	return used
}

// Open tells whether the request holds its place still.
func (s *Stay) Open() bool { return s != nil && s.open }

// Leave ends the stay, if nothing else has: the request has come to no end of its own. It may
// be called after Settle, and twice.
func (s *Stay) Leave(at int64) { s.Settle(at, Need{Unknown, Unknown}) }

// leave gives back what the request holds, and its place where it has got no answer. The
// lock is held.
func (s *Stay) leave() {
	a := s.allowance
	a.hold(s, Need{})
	a.underWay--
	s.open = false
	if !s.answered {
		s.counted.giveBack(s.at)
	}
}
