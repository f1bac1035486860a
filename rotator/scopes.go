package rotator

// Scopes returns those in which keys of the pool cool, or did a moment ago, in any order:
// at most MaxScopes and Overflow. CensusIn tells how each is.
func (p *Pool) Scopes() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.lanes.byScope {
		names = append(names, name)
	}
	return names
}
