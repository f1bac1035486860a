package line

import "container/list"

// crowd is all who wait. A client may have as many of them as there is room. When it is full,
// clients share it by weight.
type crowd struct {
	clients map[string]*client
	most    order[*client] // who has the most comes first
}

// client is whose requests wait.
type client struct {
	name    string
	weight  float64
	waiting list.List // in the order in which they came; not empty
	at      int
}

func (c *client) newest() *Waiter { return c.waiting.Back().Value.(*Waiter) }

// more is how many the client has, for its weight, beside one that nobody takes from it.
func (c *client) more() float64 { return float64(c.waiting.Len()-1) / c.weight }

// place implements ordered.
func (c *client) place() *int { return &c.at }

// before implements ordered: of those who have the same, first is whose newest is newer.
func (c *client) before(other *client) bool {
	if a, b := c.more(), other.more(); a != b {
		return a > b
	}
	return c.newest().came > other.newest().came
}

func (c *crowd) add(w *Waiter, name string, weight int) {
	if c.clients == nil {
		c.clients = make(map[string]*client)
	}
	if w.client = c.clients[name]; w.client != nil {
		w.among = w.client.waiting.PushBack(w)
		c.most.fix(w.client)
		return
	}
	w.client = &client{name: name, weight: float64(weight)}
	w.among = w.client.waiting.PushBack(w)
	c.clients[name] = w.client
	c.most.add(w.client)
}

func (c *crowd) remove(w *Waiter) {
	if w.client.waiting.Len() == 1 {
		c.most.remove(w.client)
		delete(c.clients, w.client.name)
		return
	}
	w.client.waiting.Remove(w.among)
	c.most.fix(w.client)
}

// yields returns who makes room for one more of the client, nil for nobody: the newest, which
// has waited least, of the client that has the most. It must have more than the other would
// have then, or both would send each other away by turns.
func (c *crowd) yields(name string, weight int) *Waiter {
	if len(c.most) == 0 {
		return nil
	}
	has := 0
	if known := c.clients[name]; known != nil {
		has = known.waiting.Len()
	}
	if most := c.most[0]; most.more() > float64(has)/float64(weight) {
		return most.newest()
	}
	return nil
}
