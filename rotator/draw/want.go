package draw

import "time"

// Slot is a key's place in its pool: 0 to Len()-1, the order in which the keys
// were given. It stays the same for as long as the pool lives.
type Slot int32

// Want says which key a request wants.
type Want struct {
	Scope    string // keys that cool in it are not ready for the request; "": none
	Tried    []Slot // by the request: it does not get them again
	Affinity Affinity

	// Home is the key that the request has been with, plus one; 0: none. As long as that is
	// ready, and none of a lower tier, the request goes there and finds out about no other.
	Home Slot

	// Explore is how long a key must still be cooling to be worth finding out about; 0: the
	// request finds out about none, since it cannot be sent again.
	Explore time.Duration

	// Shut are lots whose keys the request does not get; nil: none. It does not change while
	// the draw reads it.
	Shut Lots

	Refused bool // by another key: suspects that have stated a time are left alone
	Limited bool // by a suspect of a limit: others of the kind are left alone

	// The slots that can serve it, each once, and the first of them preferably; nil: all.
	Among []Slot

	// Mark is the ModelMark of the model for which keys may have little left.
	Mark uint32

	at int64 // when a draw looks

	// What counts for limits of keys: about how many tokens the request will use, and its
	// model, where keys are limited by model. Draws do not look at it.
	Tokens int64
	Model  string
}

// Drawn is a key that a request gets.
type Drawn struct {
	Slot Slot

	// Explores tells that the request finds out what the key is worth: others were ready.
	// Want.Explore asks for that, and Settled ends it.
	Explores bool

	// Suspect tells that the key was refused for a limit and may still be at it.
	Suspect bool

	// Convicted tells that the key cools: what it says tells nothing new of the request.
	Convicted bool

	// Held is what the request holds of the key's limits, until it ends.
	Held Held

	// Where there is none for the request: so many keys are ready for others, and have too
	// little room for it …
	Cramped int
	Room    time.Duration // … until the first has enough; 0: until a request ends, at any time
}

// Cramp takes those out of the census of ready slots that have too little room for the request
// of which the draw has found that out: for it they are at a limit, for which slots count as
// cooling for the reason.
func (d *Drawn) Cramp(c *Census, r Reason) {
	c.Cooling[r] += c.Ready
	c.Ready, c.Free, c.Usable = 0, 0, 0
	switch {
	case d.Room == 0:
		c.Busy += d.Cramped
	case c.Soonest == 0 || d.Room < c.Soonest:
		c.Soonest = d.Room
	}
}

// Held is what a request holds of its key's limits, as the draw's owner counts it.
type Held struct {
	By     any // who counts it; nil: nothing is held
	At     int64
	Tokens int64
}
