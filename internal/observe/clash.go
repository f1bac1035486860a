package observe

import "slices"

// Clash returns the provider of the other pools of the same config that have the pool's
// name, if it is another one; "" if there are none. Metrics, the list and the page show such
// pools as one. Where the others differ already, that was found out before.
func (r *registry) Clash(p *Pool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	others := slices.DeleteFunc(slices.Clone(r.pools), func(o *Pool) bool { return o.Name != p.Name || o.Config != p.Config })
	if len(others) == 0 || slices.ContainsFunc(others, func(o *Pool) bool { return o.Provider == p.Provider }) {
		return ""
	}
	return others[0].Provider
}
